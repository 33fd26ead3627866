"""Counts the words of several texts at once, and adds them up."""

from tasks import count_words, total

from bgworker import group

TEXTS = ["to be or not to be", "a rose is a rose", "tomorrow and tomorrow"]

if __name__ == "__main__":
    flow = group(*(count_words.s(text) for text in TEXTS)).then(total.s()).delay()
    print(flow.result(timeout=20))

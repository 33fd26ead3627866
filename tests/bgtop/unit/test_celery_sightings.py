"""The age of the oldest message is bounded from below, always, and closely."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from repeated import EXAMPLES

from bgtop.backends.celery.sightings import MOST_MARKERS, Sightings


class SimulatedQueue:
    """A list as kombu uses it, which knows when each message was first put into it.

    Index 0 is the newest end, the last is taken next.
    """

    def __init__(self) -> None:
        self.clock = 1000.0
        self.list: list[tuple[bytes, float]] = []
        self.taken: list[tuple[bytes, float]] = []
        self._numbers = count()

    def put(self) -> None:
        self.list.insert(0, (b'{"delivery_tag": "%d"}' % next(self._numbers), self.clock))

    def put_foreign(self) -> None:
        """A producer without kombu may send the same bytes again and again."""
        self.list.insert(0, (b"{}", self.clock))

    def take(self, number: int) -> None:
        for _ in range(min(number, len(self.list))):
            self.taken.append(self.list.pop())

    def give_back(self, *, newest_end: bool, changed: bool) -> None:
        """What a worker does that stops, a sweep after the visibility timeout, or a rejection."""
        if self.taken:
            message, entered = self.taken.pop()
            place = 0 if newest_end else len(self.list)
            self.list.insert(place, (message + b" " * changed, entered))

    def oldest_age(self) -> float:
        return self.clock - min(entered for _, entered in self.list)

    def look(self, sightings: Sightings, *, window: int | None = None, room: int = 8) -> float:
        """What the backend does; the age it would show."""
        everything = [message for message, _ in self.list]
        within = everything if window is None else everything[-window:]

        def search(messages: list[bytes]) -> list[bool | None]:
            deep = len(within) < len(self.list)
            return [True if m in within else None if deep else False for m in messages]

        if sightings.length != len(everything) or not sightings.stays(everything[-1]):
            found = search(sightings.to_find())
            sightings.look(everything[0], everything[-1], found, self.clock, room)
            sightings.length = len(everything)
            sightings.found(search(sightings.to_find_next()))
        assert sightings.since is not None
        return self.clock - sightings.since


STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 6)),
    st.tuples(st.just("take"), st.integers(1, 8)),
    st.tuples(st.just("back"), st.sampled_from([(a, b) for a in (0, 1) for b in (0, 1)])),
    st.tuples(st.just("foreign"), st.just(0)),
    st.tuples(st.just("wait"), st.floats(0.01, 50)),
    st.tuples(st.just("look"), st.just(0)),
)


@settings(max_examples=4 * EXAMPLES)
@given(st.lists(STEP, max_size=60), st.none() | st.integers(1, 4), st.integers(1, MOST_MARKERS))
def test_the_bound_never_exceeds_the_true_age(steps, window, room) -> None:
    """Whatever is put, taken, given back at either end, in whatever order."""
    queue, sightings = SimulatedQueue(), Sightings()
    for verb, value in [*steps, ("look", 0)]:
        if verb == "put":
            for _ in range(value):
                queue.put()
        elif verb == "take":
            queue.take(value)
        elif verb == "back":
            queue.give_back(newest_end=bool(value[0]), changed=bool(value[1]))
        elif verb == "foreign":
            queue.put_foreign()
        elif verb == "wait":
            queue.clock += value
        elif verb == "look" and queue.list:
            assert 0 <= queue.look(sightings, window=window, room=room) <= queue.oldest_age() + 1e-9
            assert sightings.markers <= room


@settings(max_examples=3 * EXAMPLES)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=MOST_MARKERS))
def test_a_message_that_came_under_our_eyes_is_known_within_one_interval(flow) -> None:
    queue, sightings, interval = SimulatedQueue(), Sightings(), 5.0
    began = queue.clock
    for puts, takes in flow:
        for _ in range(puts):
            queue.clock += interval / 6
            queue.put()
        queue.clock += interval / 6 * (6 - puts)
        queue.take(takes)
        if queue.list:
            bound, truth = queue.look(sightings), queue.oldest_age()
            if queue.clock - truth > began:
                assert truth - bound <= interval + 1e-9


@settings(max_examples=100)
@given(st.integers(10, 200), st.integers(1, 30))
def test_a_long_wait_is_known_within_a_third(looks, depth) -> None:
    """There is room for eight markers, however long the queue is watched."""
    queue, sightings = SimulatedQueue(), Sightings()
    bound = truth = 0.0
    for number in range(looks):
        queue.put()
        queue.take(1 if number >= depth else 0)
        queue.clock += 5.0
        bound, truth = queue.look(sightings), queue.oldest_age()

    assert truth - bound <= max(10.0, truth / 3)


def test_before_the_first_look_nothing_is_known_of_the_past() -> None:
    queue, sightings = SimulatedQueue(), Sightings()
    queue.put()
    queue.clock += 100

    assert queue.look(sightings) == 0.0
    queue.clock += 7
    assert queue.look(sightings) == 7.0


def test_a_deep_queue_nobody_takes_from_ages_though_it_cannot_be_searched() -> None:
    queue, sightings = SimulatedQueue(), Sightings()
    for _ in range(20):
        queue.put()
    queue.look(sightings, window=3)
    for _ in range(5):
        queue.put()
        queue.clock += 5
        bound = queue.look(sightings, window=3)

    assert bound == 25.0


def test_equal_bytes_of_a_foreign_producer_prove_nothing() -> None:
    """Taken and sent again between two looks, they would seem to have waited all the time."""
    queue, sightings = SimulatedQueue(), Sightings()
    queue.put_foreign()
    queue.look(sightings)
    queue.clock += 5
    queue.take(1)
    queue.put_foreign()

    assert queue.look(sightings) == 0.0


def test_in_a_long_list_a_message_is_found_again_when_it_comes_near_its_end() -> None:
    """Until then it cannot be told whether it is there, which is no reason to forget it."""
    queue, sightings = SimulatedQueue(), Sightings()
    for _ in range(20):
        queue.put()
    queue.look(sightings, window=3)
    for takes in (6, 6, 6):
        queue.put()
        queue.take(takes)
        queue.clock += 5
        bound = queue.look(sightings, window=3)

    assert bound == 15.0 == queue.oldest_age()

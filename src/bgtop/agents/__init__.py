"""What an application may add, in one line, so that bgtop sees more of its workers."""

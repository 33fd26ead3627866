"""Bucky 2.3.0 on Python 3: ``python run.py bucky.conf``.

It is installed with ``pip install --no-deps bucky==2.3.0``, beside ``six``, ``watchdog``,
``setproctitle`` and ``pycryptodome``.
"""

from bucky import main, statsd

# It asks its own thread whether it lives, which Python 3 denies in a forked process.
statsd.StatsDHandler.is_alive = lambda _: True

if __name__ == "__main__":
    main.main()

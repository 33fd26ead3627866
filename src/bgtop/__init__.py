"""bgtop: see and steer any background-job system from one screen."""

__version__ = "0.1.0"

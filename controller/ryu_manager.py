"""The console script ``ryu-manager``: Ryu's own, made to run with today's eventlet.

Ryu 4.34 imports ``eventlet.wsgi.ALREADY_HANDLED``, which eventlet took out in 0.30.3 (2021) in favour of the flag
``WSGI_LOCAL.already_handled``, so that Ryu's own script ends at once:

    ImportError: cannot import name 'ALREADY_HANDLED' from 'eventlet.wsgi'

An older eventlet is no way out: it does not run on Python 3.10 and later.
"""

import sys

import eventlet.wsgi


def supply_already_handled() -> None:
    """Give eventlet the name that Ryu wants. Must come before anything imports ``ryu.app.wsgi``.

    Ryu's web server returns it for a request that a WebSocket has answered. eventlet sets its flag for these itself
    and then ignores what is returned, so an empty body is right.
    """
    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        eventlet.wsgi.ALREADY_HANDLED = ()


def main() -> None:
    """Run Ryu's manager with the arguments of the command line."""
    supply_already_handled()
    from ryu.cmd.manager import main as ryu_main  # patches sockets as it is imported, so not before

    sys.exit(ryu_main())


if __name__ == "__main__":
    main()

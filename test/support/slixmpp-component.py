#!/usr/bin/python3
"""A component of slixmpp: it echoes messages in capitals, and answers what its plugins answer.

The one argument is JSON: jid, secret, port. Each line on stdout is an event.
"""
import asyncio
import json
import sys

from slixmpp.componentxmpp import ComponentXMPP


class Echo(ComponentXMPP):
    def __init__(self, options):
        super().__init__(options["jid"], options["secret"], "127.0.0.1", options["port"])
        for name in ("xep_0030", "xep_0092", "xep_0199"):
            self.register_plugin(name)
        self["xep_0030"].add_identity(category="gateway", itype="irc", name="Echo")
        self.add_event_handler("message", self.echo)
        self.add_event_handler("session_start", lambda _: say("connected"))
        self.add_event_handler("stream_error", lambda error: say(error["condition"]))
        self.add_event_handler("disconnected", lambda _: self.loop.stop())

    def echo(self, message):
        if message["type"] != "error":
            message.reply(message["body"].upper()).send()


def say(event):
    print(event, flush=True)


asyncio.set_event_loop(asyncio.new_event_loop())
echo = Echo(json.loads(sys.argv[1]))
echo.connect()
echo.loop.run_forever()

#!/usr/bin/python3
"""Drives slixmpp by lines of JSON.

The first line on stdin holds the options; each later one is a call, {"call": ID, "do": NAME, ...}.
Each line on stdout is an event ({"event": NAME, ...}) or the outcome of a call
({"call": ID, "result": ...} or {"call": ID, "error": {"condition": ..., "text": ...}}).
"""
import asyncio
import json
import logging
import ssl
import sys
import xml.etree.ElementTree as ET

from slixmpp import JID, ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream import tostring

PLUGINS = {
    "feature_mechanisms": {"unencrypted_plain": True},
    "xep_0016": {},  # privacy lists
    "xep_0030": {},  # disco
    "xep_0048": {},  # bookmarks
    "xep_0049": {},  # private XML
    "xep_0050": {},  # ad-hoc commands
    "xep_0054": {},  # vCards
    "xep_0077": {},  # registration
    "xep_0191": {},  # blocking
    "xep_0199": {"keepalive": False},  # ping
    "xep_0203": {},  # delay
    "xep_0280": {},  # carbons
    "xep_0313": {},  # archive
    "xep_0352": {},  # client state
    "xep_0441": {},  # archive preferences
}


def say(**line):
    print(json.dumps(line), flush=True)


def attribute(stanza, name):
    return stanza.xml.attrib.get(name, "")


class Driver(ClientXMPP):
    def __init__(self, options):
        super().__init__(
            options["jid"],
            options["password"],
            plugin_config=PLUGINS,
            sasl_mech=options.get("mechanism"),
        )
        self.options = options
        # The test decides about subscriptions.
        self.auto_authorize = None
        self.auto_subscribe = False
        for name in PLUGINS:
            self.register_plugin(name, PLUGINS[name])
        if options.get("stream_management"):
            self.register_plugin("xep_0198", {"window": 1})
        if options["tls"] == "insecure":
            self.ssl_context.check_hostname = False
            self.ssl_context.verify_mode = ssl.CERT_NONE
        if options.get("ca"):
            self.ca_certs = options["ca"]
        self.add_filter("in", self.report)
        for name in ("session_start", "session_resumed"):
            self.add_event_handler(name, lambda _, name=name: say(event=name, jid=str(self.boundjid)))
        for name in ("connection_failed", "ssl_invalid_chain", "failed_all_auth", "disconnected"):
            self.add_event_handler(name, lambda reason, name=name: say(event=name, reason=str(reason)))
        for name in ("failed_auth", "stream_error"):
            self.add_event_handler(
                name, lambda error, name=name: say(event=name, reason=error["condition"])
            )

    def report(self, stanza):
        if stanza.name not in ("message", "presence", "iq"):
            return stanza
        line = {name: attribute(stanza, name) for name in ("from", "to", "type", "id")}
        line.update(event="stanza", kind=stanza.name, body="", stamp="", carbon="", xml=str(stanza))
        if stanza.name == "message":
            message = stanza
            for direction in ("sent", "received"):
                if stanza.get_plugin("carbon_" + direction, check=True):
                    line["carbon"] = direction
                    message = stanza["carbon_" + direction]
            line["body"] = message["body"]
        if stanza.name != "iq" and stanza.get_plugin("delay", check=True):
            line["stamp"] = stanza.get_plugin("delay").xml.attrib["stamp"]
        say(**line)
        return stanza

    # Connection

    async def do_connect(self):
        tls = self.options["tls"]
        self.connect(
            ("127.0.0.1", self.options["port"]),
            use_ssl=tls == "direct",
            force_starttls=tls in ("verified", "insecure"),
            disable_starttls=tls == "none",
        )

    async def do_disconnect(self):
        await self.disconnect()

    async def do_abort(self):
        """Drops the connection without a word."""
        self.abort()

    # Messages and presence

    async def do_send_message(self, to, body, type="chat", id=None):
        message = self.make_message(mto=to, mbody=body, mtype=type)
        message["id"] = id or self.new_id()
        message.send()
        return message["id"]

    async def do_send_presence(self, to=None, type=None, show=None, status=None, priority=None):
        self.send_presence(pto=to, ptype=type, pshow=show, pstatus=status, ppriority=priority)

    async def do_send_raw(self, xml):
        self.send_raw(xml)

    # Roster

    async def do_fetch_roster(self):
        """As at a login: with the version that is known, if the server has versions."""
        await self.get_roster()

    async def do_roster(self):
        """All of it as the server has it, whatever is known."""
        iq = self.make_iq_get()
        iq.enable("roster")
        iq = await iq.send()
        items = iq["roster"]["items"]
        return [
            {
                "jid": str(jid),
                "name": item["name"],
                "subscription": item["subscription"],
                "ask": item["ask"],
                "groups": sorted(item["groups"]),
            }
            for jid, item in items.items()
        ]

    async def do_set_roster_item(self, jid, name=None, groups=()):
        await self.update_roster(jid, name=name, groups=list(groups), subscription=None)

    async def do_remove_roster_item(self, jid):
        await self.del_roster_item(jid)

    # IQ

    async def do_ping(self, jid=None):
        await self["xep_0199"].send_ping(jid or self.boundjid.domain)

    async def do_disco_info(self, jid, node=""):
        info = (await self["xep_0030"].get_info(jid, node=node, local=False))["disco_info"]
        identities = [
            {"category": category, "type": kind, "name": name or ""}
            for category, kind, _, name in info["identities"]
        ]
        return {"identities": identities, "features": sorted(info["features"])}

    async def do_disco_items(self, jid, node=""):
        items = (await self["xep_0030"].get_items(jid, node=node, local=False))["disco_items"]
        return [
            {"jid": str(jid), "node": node or "", "name": name or ""}
            for jid, node, name in items["items"]
        ]

    async def do_vcard(self, jid=None):
        iq = await self["xep_0054"].get_vcard(jid, local=False, cached=False)
        card = iq["vcard_temp"]
        return {"full_name": card["FN"], "nicknames": card["NICKNAME"]}

    async def do_set_vcard(self, full_name, nickname):
        card = self["xep_0054"].make_vcard()
        card["FN"] = full_name
        card["NICKNAME"] = nickname
        await self["xep_0054"].publish_vcard(card)

    async def do_private(self, xml):
        """Private XML stored under the name of the element `xml`."""
        iq = self.make_iq_get()
        iq["private"].xml.append(ET.fromstring(xml))
        reply = await iq.send()
        return [tostring(child) for child in reply["private"].xml]

    async def do_set_private(self, xml):
        iq = self.make_iq_set()
        iq["private"].xml.append(ET.fromstring(xml))
        await iq.send()

    async def do_enable_carbons(self):
        await self["xep_0280"].enable()

    async def do_blocked(self):
        reply = await self["xep_0191"].get_blocked()
        return sorted(str(jid) for jid in reply["blocklist"]["items"])

    async def do_block(self, jid):
        await self["xep_0191"].block(jid)

    async def do_unblock(self, jid):
        await self["xep_0191"].unblock(jid)

    async def do_archive(self, with_jid=None):
        """Bodies in the own archive, oldest first."""
        bodies = []
        async for result in self["xep_0313"].iterate(with_jid=with_jid):
            bodies.append(result["mam_result"]["forwarded"]["stanza"]["body"])
        return bodies

    async def do_archive_ends(self):
        """When the first and the last message in the own archive came."""
        reply = await self["xep_0313"].get_archive_metadata()
        metadata = reply["mam_metadata"]
        return [metadata[end]["timestamp"].isoformat() for end in ("start", "end")]

    async def do_archive_fields(self):
        form = await self["xep_0313"].get_fields()
        return sorted(field["var"] for field in form["fields"])

    async def do_archive_preferences(self):
        default, always, never = await self["xep_0441"].get_preferences()
        lists = [sorted(str(jid) for jid in jids) for jids in (always, never)]
        return {"default": default, "always": lists[0], "never": lists[1]}

    async def do_set_archive_preferences(self, default, always=(), never=()):
        jids = [{JID(jid) for jid in listed} for listed in (always, never)]
        await self["xep_0441"].set_preferences(default, *jids)

    # The plugin's own functions for these do not tell the answers.

    async def do_set_privacy_list(self, name, items):
        iq = self.make_iq_set()
        iq["privacy"]["list"]["name"] = name
        for item in items:
            kinds = {kind: True for kind in item.get("kinds", ())}
            iq["privacy"]["list"].add_item(
                item.get("value", ""), item["action"], str(item["order"]), item.get("type"), **kinds
            )
        await iq.send()

    async def do_choose_privacy_list(self, use, name=None):
        """`use` is "active" or "default"; without a name none is."""
        iq = self.make_iq_set()
        iq["privacy"].enable(use)
        if name is not None:
            iq["privacy"][use]["name"] = name
        await iq.send()

    async def do_privacy_lists(self):
        iq = self.make_iq_get()
        iq.enable("privacy")
        reply = (await iq.send())["privacy"]
        return {
            "active": reply["active"]["name"],
            "default": reply["default"]["name"],
            "names": sorted(each["name"] for each in reply["lists"]),
        }

    async def do_commands(self, jid):
        """Nodes of the ad-hoc commands that there are."""
        items = (await self["xep_0050"].get_commands(jid))["disco_items"]["items"]
        return sorted(node for _, node, _ in items)

    async def do_give_command(self, jid, node, fields=None):
        """The plugin goes from step to step itself; answers what the last one showed."""
        over = asyncio.get_running_loop().create_future()

        def shown(iq):
            command = iq["command"]
            form = command["form"] if command.xml.find("{jabber:x:data}x") is not None else None
            values = form.get_values() if form is not None else {}
            notes = [[kind, text] for kind, text in command["notes"]]
            return {"status": command["status"], "values": values, "notes": notes}

        def step(iq, session):
            if iq["command"]["status"] == "completed" or fields is None:
                over.set_result(shown(iq))
                return
            form = self["xep_0004"].make_form(ftype="submit")
            for name, value in fields.items():
                form.add_field(var=name, value=value)
            session["payload"] = form
            session["next"] = last
            if "complete" in iq["command"]["actions"]:
                self["xep_0050"].complete_command(session)
            else:
                self["xep_0050"].continue_command(session)

        def last(iq, session):
            step(iq, session)

        def failed(iq, session):
            over.set_exception(IqError(iq))

        self["xep_0050"].start_command(jid, node, {"next": step, "error": failed})
        return await over

    async def do_tell_state(self, state):
        getattr(self["xep_0352"], "send_" + state)()

    async def do_change_password(self, password):
        await self["xep_0077"].change_password(password, jid=self.boundjid.domain)

    async def do_iq(self, type, xml, to=None):
        """Any request; answers the payload."""
        iq = self.make_iq(itype=type, ito=to)
        iq.xml.append(ET.fromstring(xml))
        reply = await iq.send()
        return [tostring(child) for child in reply.xml]


async def answer(driver, call, do, arguments):
    try:
        result = await getattr(driver, "do_" + do)(**arguments)
        say(call=call, result=result)
    except IqError as error:
        say(call=call, error={"condition": error.condition, "text": error.text})
    except IqTimeout:
        say(call=call, error={"condition": "timeout", "text": do})
    except Exception as error:  # The test reads it; the driver goes on.
        say(call=call, error={"condition": type(error).__name__, "text": str(error)})


async def main():
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    stdin = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    driver = Driver(json.loads(await stdin.readline()))
    tasks = set()
    while line := await stdin.readline():
        request = json.loads(line)
        task = asyncio.create_task(
            answer(driver, request.pop("call"), request.pop("do"), request)
        )
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    driver.abort()


asyncio.run(main())

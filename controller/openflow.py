"""OpenFlow 1.3 on the wire: flow entries, groups and meters to and from Ryu's messages.

Only this file, ``switch.py`` and ``ryu_app.py`` know Ryu. os-ken, its maintained fork, has the same modules under
``os_ken``. With 4.2 it takes Ryu's place by import lines, ``OSKenApp`` for ``RyuApp``, OSKEN_HUB_TYPE=eventlet, and a
``main`` of our own.
"""

from collections.abc import Sequence

from ryu.ofproto import ofproto_common
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

from controller.entries import (
    COOKIE,
    COOKIE_MASK,
    MATCH_FIELDS,
    Action,
    ArpReply,
    Bucket,
    FlowEntry,
    Group,
    Item,
    Match,
    Meter,
    Other,
    Output,
    SendBack,
    ToGroup,
)

OFP_VERSION = ofproto.OFP_VERSION
_ARP_REPLY = 2
_MAC_BITS, _IPV4_BITS = 48, 32
# Errors of the ONF's bundle extension (EXT-230) by experimenter and type.
_BUNDLE_ERRORS = {
    (ofproto_common.ONF_EXPERIMENTER_ID, getattr(ofproto, name)): name
    for name in dir(ofproto)
    if name.startswith("ONFERR_ET_")
}
_METER_FLAGS = ofproto.OFPMF_KBPS | ofproto.OFPMF_BURST


# --- To the switch --------------------------------------------------------------------------------------------------


def put(datapath, item: Item, present: bool) -> parser.MsgBase:
    """The message that makes the switch hold the item; ``present``: something is in its slot."""
    match item:
        case FlowEntry():
            return flow_mod(datapath, item)
        case Group():
            command = ofproto.OFPGC_MODIFY if present else ofproto.OFPGC_ADD
            buckets = [
                parser.OFPBucket(watch_port=one.watch_port, actions=_all_actions(one.actions)) for one in item.buckets
            ]
            return parser.OFPGroupMod(datapath, command, ofproto.OFPGT_FF, item.group_id, buckets)
    command = ofproto.OFPMC_MODIFY if present else ofproto.OFPMC_ADD
    band = parser.OFPMeterBandDrop(item.rate_kbps, item.burst_kbits)
    return parser.OFPMeterMod(datapath, command, _METER_FLAGS, item.meter_id, [band])


def remove(datapath, item: Item) -> parser.MsgBase:
    """The message that takes exactly this item away, a flow entry only while it carries our cookie."""
    match item:
        case FlowEntry():
            return flow_delete(datapath, item)
        case Group():
            return parser.OFPGroupMod(datapath, ofproto.OFPGC_DELETE, ofproto.OFPGT_FF, item.group_id)
    return parser.OFPMeterMod(datapath, ofproto.OFPMC_DELETE, _METER_FLAGS, item.meter_id)


def flow_mod(datapath, entry: FlowEntry) -> parser.OFPFlowMod:
    """Adds the entry, or takes the place of what is in its slot.

    ADD rather than MODIFY_STRICT: it also works when the slot is empty or holds another cookie, and without
    OFPFF_RESET_COUNTS the counters of the replaced entry go on (OpenFlow 1.3.5, section 6.4).
    """
    return _flow_mod(datapath, entry, ofproto.OFPFC_ADD, cookie=entry.cookie, instructions=_instructions(entry))


def flow_delete(datapath, entry: FlowEntry) -> parser.OFPFlowMod:
    """Deletes exactly this entry, and only while it carries our cookie."""
    return _flow_mod(
        datapath, entry, ofproto.OFPFC_DELETE_STRICT, cookie=COOKIE, cookie_mask=COOKIE_MASK, instructions=[]
    )


def _flow_mod(datapath, entry: FlowEntry, command: int, **fields) -> parser.OFPFlowMod:
    return parser.OFPFlowMod(
        datapath,
        command=command,
        table_id=entry.table_id,
        priority=entry.priority,
        match=_match(entry.match),
        buffer_id=ofproto.OFP_NO_BUFFER,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
        **fields,
    )


def _match(match: Match) -> parser.OFPMatch:
    fields = {name: getattr(match, name) for name in MATCH_FIELDS if getattr(match, name)}
    return parser.OFPMatch(**fields, **dict(match.other))


def _instructions(entry: FlowEntry) -> list:
    instructions = [parser.OFPInstructionMeter(entry.meter_id)] if entry.meter_id else []
    if entry.actions:
        actions = _all_actions(entry.actions)
        instructions.append(parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions))
    if entry.goto_table:
        instructions.append(parser.OFPInstructionGotoTable(entry.goto_table))
    return instructions


def _all_actions(actions: Sequence[Action]) -> list:
    return [message for action in actions for message in _actions(action)]


def _actions(action: Action) -> list:
    match action:
        case Output(port):
            return [parser.OFPActionOutput(port)]
        case ToGroup(number):
            return [parser.OFPActionGroup(number)]
        case SendBack(dscp):
            return [parser.OFPActionSetField(ip_dscp=dscp), parser.OFPActionOutput(ofproto.OFPP_IN_PORT)]
        case ArpReply(mac, ipv4):
            return [
                parser.NXActionRegMove("eth_src", "eth_dst", _MAC_BITS),
                parser.OFPActionSetField(eth_src=mac),
                parser.OFPActionSetField(arp_op=_ARP_REPLY),
                parser.NXActionRegMove("arp_sha", "arp_tha", _MAC_BITS),
                parser.NXActionRegMove("arp_spa", "arp_tpa", _IPV4_BITS),
                parser.OFPActionSetField(arp_sha=mac),
                parser.OFPActionSetField(arp_spa=ipv4),
                parser.OFPActionOutput(ofproto.OFPP_IN_PORT),
            ]
    raise TypeError(f"{action!r} is what a switch reported; it cannot be sent")


# --- From the switch ------------------------------------------------------------------------------------------------


def entry_of(stats: parser.OFPFlowStats) -> FlowEntry:
    """The entry that a switch reports. What LINKs never writes becomes ``Match.other`` and ``Other``."""
    actions: tuple[Action, ...] = ()
    goto_table = meter_id = 0
    for instruction in stats.instructions:
        match instruction:
            case parser.OFPInstructionGotoTable():
                goto_table = instruction.table_id
            case parser.OFPInstructionMeter():
                meter_id = instruction.meter_id
            case parser.OFPInstructionActions(type=ofproto.OFPIT_APPLY_ACTIONS):
                actions += _actions_of(instruction.actions)
            case _:
                actions += (Other(str(instruction)),)
    return FlowEntry(
        stats.table_id,
        stats.priority,
        stats.cookie,
        _match_of(stats.match),
        actions,
        goto_table,
        meter_id,
        stats.idle_timeout,
        stats.hard_timeout,
        stats.flags,
    )


def group_of(stats: parser.OFPGroupDescStats) -> Group:
    """The group that a switch reports."""
    other = "" if stats.type == ofproto.OFPGT_FF else f"of type {stats.type}"
    buckets = tuple(Bucket(one.watch_port, _actions_of(one.actions)) for one in stats.buckets)
    if any(one.watch_group != ofproto.OFPG_ANY or one.weight for one in stats.buckets):
        other = f"{other} with weights or watched groups".strip()
    return Group(stats.group_id, buckets, other)


def meter_of(stats: parser.OFPMeterConfigStats) -> Meter:
    """The meter that a switch reports."""
    match stats.bands:
        case [parser.OFPMeterBandDrop(rate=rate, burst_size=burst)]:
            flags = stats.flags & ~ofproto.OFPMF_STATS
            return Meter(stats.meter_id, rate, burst, "" if flags == _METER_FLAGS else f"with flags {flags:#x}")
    return Meter(stats.meter_id, 0, 0, f"with bands {stats.bands}")


def _match_of(match: parser.OFPMatch) -> Match:
    known, other = {}, []
    for name, value in match.items():
        if name in MATCH_FIELDS and not isinstance(value, tuple):  # a tuple is (value, mask); LINKs writes no masks
            known[name] = value
        else:
            other.append((name, value))
    return Match(**known, other=tuple(other))


def _actions_of(messages: Sequence) -> tuple[Action, ...]:
    known = _arp_reply_of(messages) or _send_back_of(messages)
    return (known,) if known else tuple(map(_action_of, messages))


def _action_of(message) -> Action:
    match message:
        case parser.OFPActionOutput(port=port) if port < ofproto.OFPP_MAX:
            return Output(port)
        case parser.OFPActionGroup(group_id=number):
            return ToGroup(number)
    return Other(str(message))


def _send_back_of(messages: Sequence) -> SendBack | None:
    """The action whose messages these are, every one."""
    match messages:
        case [parser.OFPActionSetField(key="ip_dscp", value=dscp), parser.OFPActionOutput(port=ofproto.OFPP_IN_PORT)]:
            return SendBack(dscp)
    return None


def _arp_reply_of(messages: Sequence) -> ArpReply | None:
    """The reply whose actions these are, if they are those of a reply, every one."""
    fields = {message.key: message.value for message in messages if isinstance(message, parser.OFPActionSetField)}
    if not fields.keys() >= {"arp_sha", "arp_spa"}:
        return None
    reply = ArpReply(fields["arp_sha"], fields["arp_spa"])
    return reply if [*map(_meaning, _actions(reply))] == [*map(_meaning, messages)] else None


def _meaning(message) -> tuple:
    """An action, however the switch writes it: Open vSwitch reports moved fields by their older NXM headers."""
    match message:
        case parser.NXActionRegMove():
            fields = message.src_field.removesuffix("_nxm"), message.dst_field.removesuffix("_nxm")
            return "move", *fields, message.n_bits, message.src_ofs, message.dst_ofs
        case parser.OFPActionSetField():
            return "set", message.key, message.value
        case parser.OFPActionOutput():
            return "output", message.port
    return "other", str(message)


def error_text(message: parser.OFPErrorMsg) -> str:
    """An OpenFlow error by the names of its type and code in the specification."""
    if message.type == ofproto.OFPET_EXPERIMENTER:
        name = _BUNDLE_ERRORS.get((message.experimenter, message.exp_type))
        return name or f"OFPET_EXPERIMENTER {message.experimenter:#x} type {message.exp_type}"
    return f"{ofproto.ofp_error_type_to_str(message.type)} {ofproto.ofp_error_code_to_str(message.type, message.code)}"

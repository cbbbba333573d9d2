import type { BareJid, FullJid, Jid } from '../xmpp/jid.ts'
import type { Element } from '../xmpp/xml.ts'
import type { AdhocAsked, AdhocCommand } from './adhoc.ts'
import type { NodeRun } from './cluster.ts'
import type { Component } from './components.ts'
import type { DiscoIdentity, DiscoItem, DiscoQuery } from './disco.ts'
import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'
import type { AuthenticatedStream, Resource, Session } from './session.ts'
import type { Taken, UserDataPart, UserDataPortion } from './user-data.ts'

/** `acc` passes from handler to handler and is the result; `params` stays as it is. */
type Hook<A, P = object> = { readonly acc: A; readonly params: P }

/** Of hooks that a client's session runs. */
type InSession = { readonly session: Session }

export type Verdict = 'allow' | 'deny'

/** RFC 6121 §2.1.2.5, without what is pending. */
export type Subscription = 'none' | 'to' | 'from' | 'both'

export type ContactInfo = {
  readonly subscription: Subscription
  readonly groups: readonly string[]
}

/** Whom to tell about an account's presence, and whom to ask for theirs. */
export type SubscriptionLists = {
  /** Contacts who see the account's presence (subscription from or both). */
  readonly from: readonly BareJid[]
  /** Contacts whose presence the account sees (subscription to or both). */
  readonly to: readonly BareJid[]
  /** Requests waiting for the account's answer, each the presence as received. */
  readonly pending: readonly Envelope[]
}

export type SubscriptionType = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed'

/** What becomes of a subscription stanza that came in. */
export type InboundSubscription = {
  /** Whether the account's available resources get it. */
  readonly isWanted: boolean
  /** Which of those that are connected but not available get it, too. */
  readonly isFor?: (resource: Resource) => boolean
  /** Run when they have it, or at once if nobody is to (RFC 6121 §3.1.6: the stanza, then the push). */
  readonly afterDelivery?: () => void
}

/** A subscription between an account and a contact is no longer what it was. */
export type RosterChange = {
  readonly owner: BareJid
  readonly contact: BareJid
  readonly before: Subscription
  readonly after: Subscription
}

/** Whose presence goes out, or whose wish to know that of others. */
export type PresenceSending = {
  readonly owner: BareJid
  /** The resource that it is about; any of the account's when absent. */
  readonly sender?: Resource | undefined
  readonly isProbe?: boolean
}

/** Who may see an account's presence is no longer decided as it was. */
export type VisibilityChange = {
  readonly owner: BareJid
  /** Domains, accounts or resources. */
  readonly contacts: readonly Jid[]
  readonly isVisible: boolean
  /** Only of this resource; of all when absent. */
  readonly sender?: Resource | undefined
}

/** What is left of a node's run. */
export type Remains = {
  readonly node: string
  /** Of the run, and of all before it. */
  readonly epoch: number
  /**
   * Unregisters those of its sessions that nobody has taken over. New stanzas for their accounts wait
   * until all that was left is routed.
   */
  readonly unregister: () => Promise<void>
  /**
   * A stanza was found that `handed` (`Notes`) names, and is in somebody's hands here: whoever handed it
   * over need not mind it any more. True: others were given it as well, and took it for arrived from then on, so
   * that this node answers for it alone.
   */
  readonly found: (handed: string) => boolean
  /**
   * The same of one that is in nobody's hands. True: other resources got it as well, and whoever gave it
   * to all of them answers for it, so that it is neither to be routed nor kept here.
   */
  readonly giveBack: (handed: string) => Promise<boolean>
}

/** Why a session ended. */
export type EndReason = 'closed' | 'lost' | 'replaced' | 'resumed' | 'kicked' | 'shutdown'

/**
 * Every hook of the route: its payload, what else handlers are told, and when it runs. Names are
 * those of MongooseIM. Handlers return the payload (changed or not), `stop(payload)` or `DROP`.
 * Stanza hooks may also throw a `StanzaError`: the sender gets it, and the stanza goes no further.
 */
export interface HookMap {
  // --- A client's stream, inbound. Run by c2s/inbound.ts.

  /** Each stanza a client sends, before the hook of its kind. `stop`: it is not routed. */
  user_send_packet: Hook<Envelope, InSession>
  /** A message sent. `stop`: it is not routed. */
  user_send_message: Hook<Envelope, InSession>
  /** A presence sent. The presence module routes it; the route itself never does. */
  user_send_presence: Hook<Envelope, InSession>
  /** An iq sent. `stop`: it is not routed. */
  user_send_iq: Hook<Envelope, InSession>
  /** Anything else a client sends. Who knows it answers and returns `stop`. */
  user_send_xmlel: Hook<Element, InSession>

  // --- A client's stream, outbound. Run by c2s/outbound.ts.

  /** Each stanza that reaches the recipient's session, before the hook of its kind. */
  user_receive_packet: Hook<Envelope, InSession>
  /** A message about to be written. `stop`: it is not. */
  user_receive_message: Hook<Envelope, InSession>
  /** A presence about to be written. */
  user_receive_presence: Hook<Envelope, InSession>
  /** An iq about to be written. */
  user_receive_iq: Hook<Envelope, InSession>
  /** Last point before the socket. `stop`: a handler keeps the stanza and answers for it. */
  xmpp_presend_element: Hook<Envelope, InSession>
  /** A stanza with notes was written to the socket, or acknowledged where the client does that. */
  stanza_acknowledged: Hook<Envelope, InSession>

  // --- A client's session. Run by c2s/.

  /** Features offered on a new stream; before authentication `account` is absent. */
  c2s_stream_features: Hook<
    readonly Element[],
    {
      readonly domain: string
      readonly account: BareJid | undefined
      readonly isEncrypted: boolean
    }
  >
  /**
   * An element that is no stanza, before authentication. Who knows it answers and returns `stop`;
   * else the stream ends.
   */
  c2s_unauthenticated_element: Hook<
    Element,
    { readonly stream: Pick<AuthenticatedStream, 'write'> }
  >
  /** An iq before authentication. Who knows it returns the answer with `stop`; else the stream ends. */
  c2s_unauthenticated_iq: Hook<
    Element | undefined,
    {
      readonly request: Element
      readonly domain: string
      readonly address: string
      readonly isEncrypted: boolean
    }
  >
  /**
   * An element that is no stanza, on an authenticated stream without a session. Who knows it answers
   * and returns `stop`.
   */
  c2s_authenticated_element: Hook<Element, { readonly stream: AuthenticatedStream }>
  /** Before a session is registered. `deny` refuses it with `not-allowed`. */
  user_open_session: Hook<Verdict, { readonly jid: FullJid; readonly address: string }>
  /** Whether the account may have a session at all (bans). */
  session_opening_allowed_for_user: Hook<Verdict, { readonly jid: FullJid }>
  /** A session was refused. */
  forbidden_session: Hook<FullJid, object>
  /** Someone else ends the session. `stop`: a handler keeps it alive without a connection. */
  user_stop_request: Hook<EndReason, InSession>
  /**
   * The connection closed without `</stream:stream>`. `stop`: a handler keeps the session, and from
   * here on what is delivered to it, at `xmpp_presend_element`.
   */
  user_socket_closed: Hook<EndReason, InSession>
  /** As above, after an error of the connection. */
  user_socket_error: Hook<EndReason, InSession>
  /** The session ends: it is still registered, contacts can be told. */
  user_terminate: Hook<EndReason, InSession>
  /** The session is no longer registered; what it had not delivered goes back to the route. */
  reroute_unacked_messages: Hook<readonly Envelope[], InSession>
  /** Just before those are routed again, oldest first. */
  filter_unacknowledged_messages: Hook<readonly Envelope[], { readonly jid: FullJid }>
  /** One stanza was not acknowledged when its connection was lost. */
  unacknowledged_message: Hook<Envelope, { readonly jid: FullJid }>
  /** A login failed. */
  auth_failed: Hook<
    object,
    { readonly localpart: string; readonly domain: string; readonly address: string }
  >
  /** Whether to refuse connections from an address. Global. */
  check_bl_c2s: Hook<boolean, { readonly address: string }>

  // --- Router, local delivery, components, other servers.

  /** First thing the router does. Global. Fails closed. */
  filter_packet: Hook<Envelope, object>
  /** Before a user or a service of a domain gets a stanza: privacy, then what depends on it. */
  filter_local_packet: Hook<Envelope, object>
  /** The fate of each routed stanza. Global. Cannot change anything any more. */
  message_routed: Hook<Outcome, { readonly envelope: Envelope }>
  /** A message to a hosted domain itself: announcements, contact addresses. `stop` when taken. */
  message_to_domain: Hook<Outcome, { readonly envelope: Envelope }>
  /** A presence to a hosted domain itself. */
  presence_to_domain: Hook<Outcome, { readonly envelope: Envelope }>
  /** A component or a service has appeared at a domain. Global. */
  register_subhost: Hook<string, { readonly isHidden: boolean }>
  /** It is going. Global. */
  unregister_subhost: Hook<string, object>
  /** A component has authenticated: each connection, after its domain has appeared. Global. */
  component_connected: Hook<Component, object>
  /** A stanza is about to be handed to a component. Global. */
  packet_to_component: Hook<Envelope, object>
  /** Whether this server speaks with another one. Global. Fails closed. */
  s2s_allow_host: Hook<Verdict, { readonly domain: string; readonly remote: string }>
  /** A stanza leaves for another server. Global. */
  s2s_send_packet: Hook<Envelope, object>
  /** A stanza from another server was accepted. Global. */
  s2s_receive_packet: Hook<Envelope, object>

  // --- Session manager. Run by core/session-manager.ts and core/server-rules.ts.

  /** A session is registered. */
  sm_register_connection: Hook<Resource, object>
  /**
   * A session is there again after a restart, without a connection, with what its client has not
   * acknowledged. Nothing is to be delivered before all such sessions are there.
   */
  session_restored: Hook<readonly Envelope[], InSession>
  /** A session is no longer registered. */
  sm_remove_connection: Hook<Resource, { readonly reason: EndReason }>
  /** Priority or presence of a resource changed. */
  set_presence: Hook<Envelope, InSession>
  /** A resource is not available any more. */
  unset_presence: Hook<Envelope, InSession>
  /** A resource became available. */
  user_available: Hook<FullJid, InSession>
  /** Its priority became non-negative: what waited for it is delivered through `session.hold`. */
  resend_offline_messages: Hook<FullJid, InSession>
  /**
   * It is decided which resources get a message (none: nobody is there), and that it is not
   * refused: the last point before it is delivered or kept. Archive and stanza-id belong here.
   */
  sm_message_decided: Hook<Envelope, { readonly targets: readonly Resource[] }>
  /**
   * Another node has decided that these resources of this one get a message: as
   * `sm_message_decided`, for what is to be done where the recipient is.
   */
  sm_message_taken: Hook<Envelope, { readonly targets: readonly Resource[] }>
  /** A message was taken over by these resources. Copies for others belong here. */
  sm_message_delivered: Hook<Envelope, { readonly reached: readonly Resource[] }>
  /** A copy of a message goes to its sender's other resources: with what only they may see of it. */
  sent_message_copied: Hook<Envelope, object>
  /** Whether a message for a full JID that is gone is to be forgotten. */
  sm_filter_offline_message: Hook<boolean, { readonly envelope: Envelope }>
  /** A message found nobody. A handler that keeps it returns `stop` with the outcome. */
  offline_message: Hook<Outcome, { readonly envelope: Envelope }>
  /** The same for a groupchat message that a service of this cluster sent. */
  offline_groupchat_message: Hook<Outcome, { readonly envelope: Envelope }>
  /**
   * Somebody keeps a message that found nobody, or nobody does. Its write was begun in this turn, so
   * what a handler writes now is there after a crash exactly if the message is.
   */
  sm_message_kept: Hook<Outcome, { readonly envelope: Envelope }>
  /** It was not kept: refused, or over a limit. */
  failed_to_store_message: Hook<Envelope, object>
  /** A probe for an account's presence that only the presence module can answer. */
  presence_probe: Hook<Envelope, object>
  /** A run of another node has begun, or is seen for the first time. Global. */
  node_joined: Hook<object, { readonly clusterNode: string }>
  /** A node of the cluster was lost. Global. */
  node_cleanup: Hook<object, { readonly clusterNode: string }>
  /** One session of it: it is not registered any more. Run on one node. */
  session_cleanup: Hook<Resource, object>
  /**
   * A run of a node is over, and this node takes care of what it has left in the storage: its own last
   * run, or one of a node that was lost. Global; run on one node.
   */
  node_remains: Hook<Remains, object>
  /**
   * What a run of a node has left is taken care of, and it writes nothing any more. Global; run on every node.
   */
  node_cleaned: Hook<object, { readonly clusterNode: string }>
  /** The last runs of nodes of which the storage has something that `node_remains` would take over. Global. */
  nodes_with_remains: Hook<readonly NodeRun[], object>
  /**
   * A message that had its durable copy here (`kept`) went to another node, which answers for it by now:
   * it has a copy of its own, or its client has acknowledged it.
   */
  message_kept_elsewhere: Hook<Envelope, object>
  /** A session of another node is gone, or takes no messages for its account any more. */
  remote_session_left: Hook<Resource, object>

  // --- Privacy. Fail closed.

  /** Whether `owner` lets this stanza pass. */
  privacy_check_packet: Hook<
    Verdict | 'block',
    { readonly owner: BareJid; readonly envelope: Envelope; readonly direction: 'in' | 'out' }
  >

  /** What is blocked by other means than the blocking command, but could be by it (XEP-0191 §5). */
  blocked_addresses: Hook<readonly Jid[], { readonly owner: BareJid }>
  /** The blocking command lifts these blocks, all of them if `undefined`: other means do as well. */
  addresses_unblocked: Hook<readonly Jid[] | undefined, { readonly owner: BareJid }>

  // --- Roster.

  /** What the roster of `owner` says of a contact. */
  roster_get_jid_info: Hook<ContactInfo, { readonly owner: BareJid; readonly contact: BareJid }>
  roster_get_subscription_lists: Hook<SubscriptionLists, { readonly owner: BareJid }>
  /** The groups that the roster of `owner` has; `undefined` if nobody keeps one. */
  roster_get_groups: Hook<ReadonlySet<string> | undefined, { readonly owner: BareJid }>
  /** A subscription stanza came in: whether to deliver it to the account's resources. */
  roster_in_subscription: Hook<
    InboundSubscription,
    { readonly envelope: Envelope; readonly type: SubscriptionType }
  >
  /**
   * A subscription stanza goes out, from and to bare JIDs. Who keeps the roster records and routes
   * it and returns `stop`.
   */
  roster_out_subscription: Hook<Envelope, { readonly type: SubscriptionType }>
  /**
   * A subscription changed, durably. Where the contact loses the account's presence by it, this
   * runs before the contact is told so; where the contact gains it, after.
   */
  roster_changed: Hook<RosterChange, object>

  /** An account's roster has another item than before: as its clients are told, a removed one too. */
  roster_item_changed: Hook<Element, { readonly owner: BareJid }>

  // --- Presence.

  /** Whom a presence of the account, or its probe, is about to be sent to. Handlers leave out some. */
  presence_recipients: Hook<readonly Jid[], PresenceSending>
  /**
   * Contacts were blocked, or are no longer. Whoever decides that runs this; contacts who have the
   * account's presence lose it, those subscribed to it get it again.
   */
  presence_visibility_changed: Hook<VisibilityChange, object>

  // --- Discovery. Run by core/disco.ts.

  disco_local_identity: Hook<readonly DiscoIdentity[], DiscoQuery>
  disco_local_features: Hook<readonly string[], DiscoQuery>
  disco_local_items: Hook<readonly DiscoItem[], DiscoQuery>
  disco_sm_identity: Hook<readonly DiscoIdentity[], DiscoQuery>
  disco_sm_features: Hook<readonly string[], DiscoQuery>
  disco_sm_items: Hook<readonly DiscoItem[], DiscoQuery>
  /** Forms of XEP-0128. */
  disco_info: Hook<readonly Element[], DiscoQuery>
  /** What the server tells of itself is no longer the same, though the handlers are. */
  disco_changed: Hook<object, object>

  // --- Commands by forms. Run by modules/adhoc.

  /** Which commands there are at a domain, for whoever asks. */
  adhoc_commands: Hook<readonly AdhocCommand[], AdhocAsked>

  // --- Accounts.

  does_user_exist: Hook<boolean, { readonly account: BareJid }>
  register_user: Hook<BareJid, object>
  /**
   * All that was stored of a domain is gone: every module forgets what it has of it in memory. Nobody is
   * connected there. Global.
   */
  remove_domain: Hook<string, object>
  /**
   * The credentials are gone: every module removes what it keeps of the account. Runs once more where that
   * was broken off.
   */
  remove_user: Hook<BareJid, object>
  /** All that is kept of an account is wanted: every module adds its parts. */
  export_user_data: Hook<readonly UserDataPart[], { readonly account: BareJid }>
  /**
   * A part of an account's data comes from elsewhere. Who knows it keeps it, unless it is kept
   * already, and returns `stop` once it is durable; given the same again, it changes nothing.
   */
  import_user_data: Hook<Taken, { readonly account: BareJid; readonly portion: UserDataPortion }>
}

export type HookName = keyof HookMap

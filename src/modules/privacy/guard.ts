import type { AccountCache } from '../../core/account-cache.ts'
import type { Envelope } from '../../core/envelope.ts'
import type { ContactInfo, PresenceSending, Verdict } from '../../core/hook-map.ts'
import { DROP, type HookSource, resultOf } from '../../core/hooks.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import { isOwn, refuse } from '../../core/privacy.ts'
import type { Resource, Session } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import { carbonOf } from '../../xmpp/forward.ts'
import { type BareJid, type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { type AccountLists, NO_LISTS } from './account-lists.ts'
import {
  kindOf,
  MESSAGE,
  OTHER,
  PRESENCE_IN,
  PRESENCE_OUT,
  type PrivacyList,
} from './privacy-list.ts'

declare module '../../core/session.ts' {
  interface SharedState {
    /** Name of the privacy list that this resource goes by instead of the account's default list. */
    readonly activePrivacyList?: string | undefined
  }
}

type Parts = {
  readonly lists: AccountCache<AccountLists>
  readonly sessions: Sessions
  readonly hooks: HookSource
  readonly routes: LocalRoutes
}

type Passage = Envelope | typeof DROP

/** What a list is asked about. */
type Question = { readonly owner: BareJid; readonly peer: Jid; readonly kind: number }

const STRANGER: ContactInfo = { subscription: 'none', groups: [] }

/**
 * Applies privacy lists to what comes and goes.
 *
 * What comes in is decided once, before anything is kept of it: by the list of the resource it is
 * addressed to, else by the default list. Only while a resource of the account goes by a list of its
 * own, messages and presence to the account pass if any list in force lets them; then messages are
 * decided for the resources chosen to get them, and each resource drops what its own list denies.
 */
export class Guard {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** On a stanza that has come for the account, or that one of its clients sends. */
  verdict(owner: BareJid, envelope: Envelope, direction: 'in' | 'out'): Maybe<Verdict> {
    const lists = this.#parts.lists.get(owner)
    return lists === NO_LISTS ? 'allow' : this.#verdict(lists, envelope, direction)
  }

  // What has closures is apart: their variables cost where they stand, and nearly nobody has lists.

  #verdict(
    lists: Maybe<AccountLists>,
    envelope: Envelope,
    direction: 'in' | 'out',
  ): Maybe<Verdict> {
    return after(lists, (loaded) =>
      after(
        direction === 'in' ? this.#admits(loaded, envelope) : this.#letsOut(loaded, envelope),
        (isAllowed) => (isAllowed ? 'allow' : 'deny'),
      ),
    )
  }

  /** It is decided which resources get a message; none: it is kept for the account. */
  decided(envelope: Envelope, targets: readonly Resource[]): Maybe<Passage> {
    const owner = envelope.to.toBare()
    const lists = this.#parts.lists.get(owner)
    return lists === NO_LISTS ? envelope : this.#decided(lists, owner, envelope, targets)
  }

  #decided(
    lists: Maybe<AccountLists>,
    owner: BareJid,
    envelope: Envelope,
    targets: readonly Resource[],
  ): Maybe<Passage> {
    return after(lists, (loaded) => {
      if (loaded === NO_LISTS || !this.#isDivided(owner)) return envelope
      if (isOwn(owner, envelope.from) || isExemptError(envelope)) return envelope
      const inForce =
        targets.length === 0 ? [loaded.default] : targets.map((target) => listOf(loaded, target))
      return after(
        this.#anyAllows(inForce, { owner, peer: envelope.from, kind: MESSAGE }),
        (isAllowed) => (isAllowed ? envelope : refuse(envelope)),
      )
    })
  }

  /** A stanza has reached a session. */
  receiving(envelope: Envelope, session: Session): Maybe<Passage> {
    const owner = session.jid.toBare()
    const lists = this.#parts.lists.get(owner)
    if (lists === NO_LISTS) return envelope
    if (!(lists instanceof Promise)) return this.#receiving(envelope, session, lists)
    return this.#receivingLater(envelope, session, lists)
  }

  async #receivingLater(
    envelope: Envelope,
    session: Session,
    lists: Promise<AccountLists>,
  ): Promise<Passage> {
    return this.#receiving(envelope, session, await lists)
  }

  #receiving(envelope: Envelope, session: Session, lists: AccountLists): Maybe<Passage> {
    const { stanza } = envelope
    const owner = session.jid.toBare()
    // What was kept came when another list may have been in force.
    const wasKept = envelope.notes.offline !== undefined
    if (lists === NO_LISTS || isExemptError(envelope)) return envelope
    if (!wasKept && !this.#isDivided(owner)) return envelope
    const quoted = quotedSender(envelope)
    const peer = quoted ?? envelope.from
    if (isOwn(owner, peer)) return envelope
    const question = { owner, peer, kind: kindOf(stanza, 'in') }
    return after(this.#allows(listOf(lists, session), question), (isAllowed) => {
      if (isAllowed) return envelope
      // Others have it, or had it taken over: its sender is not told of this resource.
      const isShared = wasKept || quoted !== undefined || envelope.delivery !== undefined
      return isShared ? DROP : refuse(envelope)
    })
  }

  /** Those of `recipients` whom presence, or a probe, may be sent to. */
  recipients(recipients: readonly Jid[], sending: PresenceSending): Maybe<readonly Jid[]> {
    const lists = this.#parts.lists.get(sending.owner)
    if (lists === NO_LISTS) return recipients
    return after(lists, (loaded) => this.#recipients(recipients, sending, loaded))
  }

  #recipients(
    recipients: readonly Jid[],
    { owner, sender, isProbe }: PresenceSending,
    lists: AccountLists,
  ): Maybe<readonly Jid[]> {
    const inForce = sender === undefined ? this.#ofAny(lists, owner) : [listOf(lists, sender)]
    if (inForce.every((list) => list === undefined)) return recipients
    const kind = isProbe === true ? OTHER : PRESENCE_OUT
    const verdicts = recipients.map(
      (peer) => isOwn(owner, peer) || this.#anyAllows(inForce, { owner, peer, kind }),
    )
    if (!verdicts.some((verdict) => verdict instanceof Promise)) return chosen(recipients, verdicts)
    return Promise.all(verdicts).then((all) => chosen(recipients, all))
  }

  /** Whether a list lets presence go out to a contact. */
  shows(list: PrivacyList | undefined, owner: BareJid, contact: Jid): Maybe<boolean> {
    return this.#allows(list, { owner, peer: contact, kind: PRESENCE_OUT })
  }

  #admits(lists: AccountLists, envelope: Envelope): Maybe<boolean> {
    const { from, to, stanza } = envelope
    if (lists === NO_LISTS || isOwn(to, from) || isExemptError(envelope)) return true
    const owner = to.toBare()
    const kind = kindOf(stanza, 'in')
    const target = to.resource === '' ? undefined : this.#parts.sessions.get(to)
    if (target !== undefined) {
      return this.#allows(listOf(lists, target), { owner, peer: from, kind })
    }
    const isForResources = kind === MESSAGE || kind === PRESENCE_IN
    const inForce = isForResources ? this.#ofAny(lists, owner) : [lists.default]
    return this.#anyAllows(inForce, { owner, peer: from, kind })
  }

  #letsOut(lists: AccountLists, { from, to, stanza }: Envelope): Maybe<boolean> {
    if (lists === NO_LISTS || isOwn(from, to)) return true
    const sender = this.#parts.sessions.get(from)
    const list = sender === undefined ? lists.default : listOf(lists, sender)
    return this.#allows(list, { owner: from.toBare(), peer: to, kind: kindOf(stanza, 'out') })
  }

  /** The lists that a resource may go by, and what is for none. */
  #ofAny(lists: AccountLists, owner: BareJid): readonly (PrivacyList | undefined)[] {
    const inForce = [lists.default]
    for (const resource of this.#parts.sessions.of(owner.full)) {
      if (resource.shared.activePrivacyList !== undefined) inForce.push(listOf(lists, resource))
    }
    return inForce
  }

  /** Whether a resource goes by a list of its own. */
  #isDivided(owner: BareJid): boolean {
    for (const { shared } of this.#parts.sessions.of(owner.full)) {
      if (shared.activePrivacyList !== undefined) return true
    }
    return false
  }

  #anyAllows(
    lists: readonly (PrivacyList | undefined)[],
    question: Question,
    first = 0,
  ): Maybe<boolean> {
    for (let i = first; i < lists.length; i++) {
      const isAllowed = this.#allows(lists[i], question)
      if (isAllowed instanceof Promise) {
        return isAllowed.then((decided) => decided || this.#anyAllows(lists, question, i + 1))
      }
      if (isAllowed) return true
    }
    return false
  }

  #allows(list: PrivacyList | undefined, { owner, peer, kind }: Question): Maybe<boolean> {
    if (list === undefined) return true
    const verdict = list.decide(peer, kind)
    if (verdict !== undefined) return verdict === 'allow'
    const domainType = this.#parts.routes.find(owner.domain)?.domainType
    const asked = this.#parts.hooks
      .at('roster_get_jid_info', domainType)
      .run(STRANGER, { owner, contact: peer.toBare() })
    return after(asked, (known) => list.decide(peer, kind, resultOf(known, STRANGER)) === 'allow')
  }
}

export function listOf(lists: AccountLists, { shared }: Resource): PrivacyList | undefined {
  return lists.inForce(shared.activePrivacyList)
}

/** Errors answer what the account itself has sent; those of iqs only count if this server says so. */
function isExemptError({ stanza, origin }: Envelope): boolean {
  return stanza.isError && (stanza.kind !== 'iq' || origin.kind === 'server')
}

function chosen(recipients: readonly Jid[], verdicts: readonly unknown[]): readonly Jid[] {
  if (verdicts.every((verdict) => verdict === true)) return recipients
  return recipients.filter((_, index) => verdicts[index] === true)
}

/** Of a message that is a copy (XEP-0280) of one that another resource received: who sent that. */
function quotedSender({ from, to, stanza }: Envelope): Jid | undefined {
  if (stanza.kind !== 'message' || from.full !== to.bare) return undefined
  return tryParseJid(carbonOf(stanza, 'received')?.attr('from'))
}

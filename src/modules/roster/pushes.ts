import { Envelope, SERVER } from '../../core/envelope.ts'
import type { Resource } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { ROSTER_NS, writeItem, writeRemoval } from './item-xml.ts'
import type { Roster, RosterItem } from './roster.ts'

declare module '../../core/session.ts' {
  interface SharedState {
    /** The client has asked for its roster, and is told of changes (RFC 6121 §2.1.6). */
    readonly wantsRoster?: boolean
  }
}

/** Tells an account's clients what changed in its roster (RFC 6121 §2.1.6). */
export class Pushes {
  readonly #sessions: Sessions
  readonly #onChange: (owner: BareJid, item: Element) => void
  #lastId = 0

  /** `onChange` is told of every change, whether or not a client is. */
  constructor(sessions: Sessions, onChange: (owner: BareJid, item: Element) => void) {
    this.#sessions = sessions
    this.#onChange = onChange
  }

  /** Tells everybody who asked for the roster what it now says of a contact. */
  tell(owner: BareJid, roster: Roster, contact: BareJid): void {
    const item = roster.get(contact)
    const isThere = item?.isListed === true
    const written = isThere ? writeItem(item) : writeRemoval(contact)
    const interested = this.#sessions.of(owner.full).filter(({ shared }) => shared.wantsRoster)
    if (interested.length > 0) {
      const push = this.#push(written, isThere ? item.version : roster.version)
      for (const resource of interested) deliver(owner, resource, push)
    }
    this.#onChange(owner, written)
  }

  /** Tells one resource of changes that it has missed. */
  catchUp(owner: BareJid, resource: Resource, items: readonly RosterItem[]): void {
    for (const item of items) deliver(owner, resource, this.#push(writeItem(item), item.version))
  }

  #push(item: Element, version: number): Stanza {
    const id = `push-${(++this.#lastId).toString(36)}`
    const query = el('query', { xmlns: ROSTER_NS, ver: version }, item)
    return Stanza.build('iq', { type: 'set', id }, query)
  }
}

function deliver(owner: BareJid, resource: Resource, push: Stanza): void {
  // One that is gone will read its roster when it comes back.
  void resource.deliver(new Envelope(owner, resource.jid, push, SERVER))
}

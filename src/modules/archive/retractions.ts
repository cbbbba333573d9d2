import type { Logger } from '../../core/log.ts'
import { formatDateTime } from '../../xmpp/datetime.ts'
import { tryParseJid } from '../../xmpp/jid.ts'
import { decode, encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, type Stanza } from '../../xmpp/stanza.ts'
import { type Element, el, escapeAttribute, serialise } from '../../xmpp/xml.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { RETRACT_NS } from './eligibility.ts'
import { timeOf } from './ids.ts'
import { SID_NS } from './stanza-ids.ts'
import type { ArchivedMessage, ArchiveStore } from './store.ts'

type Parts = {
  readonly store: ArchiveStore
  /** Resolves when what was archived so far can be read. */
  readonly written: () => Promise<void>
  readonly log: Logger
}

/** How many retractions may wait for their turn; one looks through a whole conversation. */
const MAX_WAITING = 1000
const MAX_ID = 1000

/**
 * Puts a tombstone in the place of a message that its sender took back (XEP-0424 §5): in each archive
 * that has both. One after the other, so that many of them do not keep the database from its work.
 */
export class Retractions {
  readonly #parts: Parts
  #waiting = 0
  #last: Promise<void> = Promise.resolve()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** `stanza` was archived as `message`; nothing happens if it takes nothing back. */
  look(message: ArchivedMessage, stanza: Stanza): void {
    const retracted = stanza.child('retract', RETRACT_NS)?.attr('id') ?? ''
    // In rooms, who may take back what is the room's business.
    if (retracted === '' || retracted.length > MAX_ID || message.isGroupchat) return
    if (this.#waiting >= MAX_WAITING) {
      this.#parts.log.warn('retraction_skipped', { owner: message.owner, id: message.id })
      return
    }
    this.#waiting++
    this.#last = this.#last
      .then(() => this.#retract(message, retracted))
      .catch((error) => this.#parts.log.error('retraction_failed', { id: message.id, error }))
      .finally(() => {
        this.#waiting--
      })
  }

  /** Resolves when all that waited has been done. */
  async done(): Promise<void> {
    await this.#last
  }

  async #retract({ owner, id, peer, xml }: ArchivedMessage, retracted: string): Promise<void> {
    const { store, written } = this.#parts
    await written()
    const retraction = parse(xml)
    const text = decode(escapeAttribute(retracted))
    for await (const candidate of store.mentions(owner, peer, id, text)) {
      const message = parse(candidate.xml)
      if (!isMeant(message, retracted) || !haveOneSender(message, retraction)) continue
      if (message.child('retracted', RETRACT_NS) !== undefined) return
      const tombstone = el('retracted', {
        xmlns: RETRACT_NS,
        id: retraction.attr('id'),
        stamp: formatDateTime(timeOf(id)),
      })
      await store.replace(owner, candidate.id, decode(serialise(message.withChildren(tombstone))))
      return
    }
  }
}

function parse(xml: string): Element {
  return readElement(encode(xml), CLIENT_NS)
}

/** By the id of the stanza, or by the one its client gave it (XEP-0359 §3.2). */
function isMeant(message: Element, id: string): boolean {
  return message.attr('id') === id || message.child('origin-id', SID_NS)?.attr('id') === id
}

/** XEP-0424 §6: of the same account, whichever resource. */
function haveOneSender(one: Element, other: Element): boolean {
  const sender = tryParseJid(one.attr('from'))
  const otherSender = tryParseJid(other.attr('from'))
  return sender !== undefined && otherSender !== undefined && sender.bareEquals(otherSender)
}

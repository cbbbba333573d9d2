import { Envelope, SERVER } from '../../core/envelope.ts'
import type { Resource } from '../../core/session.ts'
import { formatDateTime } from '../../xmpp/datetime.ts'
import { delay } from '../../xmpp/delay.ts'
import { forwarded } from '../../xmpp/forward.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { encode, type Octets } from '../../xmpp/octets.ts'
import { pageElement } from '../../xmpp/rsm.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el, escapeAttribute } from '../../xmpp/xml.ts'
import { behind, timeOf } from './ids.ts'
import { type ArchiveQuery, MAM_NS } from './query.ts'
import type { ArchiveStore, Found, Kept, Selection } from './store.ts'

export type ReaderSettings = {
  /** Messages of a page, where the client does not say. */
  readonly pageSize: number
  readonly maxPageSize: number
  /** Whether who reads a message here need not be given it when it becomes available. */
  readonly replacesOffline: boolean
  /**
   * For how long after a message others with earlier ids may appear, milliseconds: those that other nodes
   * are writing. 0 where this one is alone.
   */
  readonly settlesIn: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** A page ends behind the message with which it has so many bytes: it waits in the session's memory. */
const MAX_PAGE_BYTES = 256 * 1024
/** Further than this nobody counts. */
const MAX_COUNT = 100_000

type Page = {
  /** In the order of the archive. */
  readonly messages: readonly Found[]
  readonly isComplete: boolean
}

/** Answers what accounts ask of their archives. */
export class ArchiveReader {
  readonly #store: ArchiveStore
  readonly #settings: ReaderSettings

  constructor(store: ArchiveStore, settings: ReaderSettings) {
    this.#store = store
    this.#settings = settings
  }

  /**
   * Sends the messages to `resource`, one stanza each, and resolves to the payload of the result that
   * follows them. Rejects with `item-not-found` when an id in the query is not in the archive.
   */
  async answer(owner: BareJid, query: ArchiveQuery, resource: Resource): Promise<Element> {
    const { named, page, ids } = query
    if (named.length > this.#settings.maxPageSize + 4) {
      throw new StanzaError('resource-constraint', { text: 'too many ids' })
    }
    const kept = await this.#store.byIds(owner.bare, named)
    if (kept.includes(undefined)) throw new StanzaError('item-not-found')
    const selection: Selection = { ...query, owner: owner.bare }
    if (page.max === 0) return await this.#countOnly(selection, ids)
    const { messages, isComplete } =
      ids === undefined
        ? await this.#page(selection, query)
        : this.#pageOf(kept as readonly Kept[], query)
    const sent = query.isFlipped ? messages.toReversed() : messages
    for (const found of sent) {
      const taken = resource.deliver(this.#result(owner, found, query, resource))
      if (taken instanceof Promise) await taken
    }
    const [first, last] = [messages[0]?.id, messages.at(-1)?.id]
    const isWhole = isComplete && !page.after && !page.before
    const place = isWhole
      ? { count: messages.length, firstIndex: first === undefined ? undefined : 0 }
      : await this.#placeOf(first, selection, query)
    return el(
      'fin',
      { xmlns: MAM_NS, complete: isComplete || undefined },
      pageElement({ first, last, ...place }),
    )
  }

  /** Where a page is in its result set; untold where that takes long (XEP-0313 §4.3.1). */
  async #placeOf(first: string | undefined, selection: Selection, { within, ids }: ArchiveQuery) {
    if (ids !== undefined) return {}
    const all = { ...selection, ...within }
    const count = await this.#store.countOfFew(all)
    if (count === undefined || first === undefined) return { count }
    return { count, firstIndex: await this.#store.countOfFew({ ...all, before: first }) }
  }

  /** XEP-0313 §5: where the archive begins and ends. */
  async metadata(owner: BareJid): Promise<Element> {
    const ends = await this.#store.ends(owner.bare)
    if (ends === undefined) return el('metadata', { xmlns: MAM_NS })
    const point = (name: 'start' | 'end', id: string) =>
      el(name, { id, timestamp: formatDateTime(timeOf(id)) })
    return el('metadata', { xmlns: MAM_NS }, point('start', ends.oldest), point('end', ends.newest))
  }

  async #countOnly(selection: Selection, ids: readonly string[] | undefined): Promise<Element> {
    const count = ids?.length ?? (await this.#store.count(selection, MAX_COUNT))
    // Nothing is left out of nothing.
    return el('fin', { xmlns: MAM_NS, complete: count === 0 || undefined }, pageElement({ count }))
  }

  async #page(selection: Selection, { page }: ArchiveQuery): Promise<Page> {
    const limit = this.#limit(page.max)
    const from = page.before === undefined ? 'oldest' : 'newest'
    // One more tells whether there are more.
    const window = { from, limit: limit + 1, maxBytes: MAX_PAGE_BYTES } as const
    let found = await this.#store.window(selection, window)
    const newest = from === 'oldest' ? found.at(-1) : found[0]
    const unsettled = newest === undefined ? 0 : this.#unsettledFor(newest)
    if (newest !== undefined && unsettled > 0) {
      await new Promise((resolve) => setTimeout(resolve, unsettled))
      // What has come meanwhile is not settled itself: it is for whoever asks next.
      found = await this.#store.window({ ...selection, before: behind(newest.id) }, window)
    }
    let bytes = 0
    for (const { xml } of found) bytes += Buffer.byteLength(xml)
    const isComplete = found.length <= limit && bytes < MAX_PAGE_BYTES
    const messages = found.slice(0, limit)
    return { messages: from === 'oldest' ? messages : messages.reverse(), isComplete }
  }

  /**
   * How long to wait until nothing can appear before the newest message of a page: a client that goes on
   * from there would never see it.
   */
  #unsettledFor({ id }: Found): number {
    const { settlesIn, now } = this.#settings
    return settlesIn === 0 ? 0 : timeOf(id) + settlesIn - now()
  }

  /** Of messages chosen by their ids. */
  #pageOf(kept: readonly Kept[], query: ArchiveQuery): Page {
    const { ids = [], after, before, peer, withGroupchat, page } = query
    const chosen = kept
      .filter(({ id }) => ids.includes(id) && id > after && id < before)
      .filter(({ is_groupchat }) => withGroupchat || is_groupchat === 0)
      .filter((message) => peer === undefined || message.peer === peer.bare)
      .filter(({ resource }) => !peer?.resource || resource === peer.resource)
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    const limit = this.#limit(page.max)
    const messages = page.before === undefined ? chosen.slice(0, limit) : chosen.slice(-limit)
    return { messages, isComplete: chosen.length <= limit }
  }

  #limit(max: number | undefined): number {
    const { pageSize, maxPageSize } = this.#settings
    return Math.min(max ?? pageSize, maxPageSize)
  }

  #result(owner: BareJid, { id, xml }: Found, query: ArchiveQuery, to: Resource): Envelope {
    const queryId =
      query.queryId === undefined ? '' : ` queryid='${escapeAttribute(query.queryId)}'`
    const inner = forwarded(encode(xml), delay({ at: timeOf(id) }))
    const octets = `<result xmlns='${MAM_NS}'${queryId} id='${id}'>${inner}</result>` as Octets
    const stanza = Stanza.around('message', {}, { name: 'result', ns: MAM_NS, octets })
    const isAwaited = this.#settings.replacesOffline && (to.priority ?? -1) < 0
    return new Envelope(owner, to.jid, stanza, SERVER, isAwaited ? { copyOf: id } : undefined)
  }
}

/** Archives in the terms of XEP-0227 §4.10, and their preferences as XEP-0441 writes them. */
import { createHash } from 'node:crypto'
import {
  longPart,
  PIE_ARCHIVE_NS,
  type Taken,
  taken,
  type UserDataPart,
  type UserDataPortion,
} from '../../core/user-data.ts'
import { delay, readDelay } from '../../xmpp/delay.ts'
import { FORWARD_NS, forwarded } from '../../xmpp/forward.ts'
import { type BareJid, tryParseJid } from '../../xmpp/jid.ts'
import { decode, encode, type Octets } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import type { Element } from '../../xmpp/xml.ts'
import { textOf } from './full-text.ts'
import { ALL_IDS, idAt, isArchiveId, timeOf } from './ids.ts'
import { MAM_NS } from './query.ts'
import type { ArchivedMessage, ArchiveStore } from './store.ts'

/** Read from the store at once. */
const PAGE = { from: 'oldest', limit: 200, maxBytes: 1024 * 1024 } as const
/** Messages that another server has kept with the same time, told apart by their order. */
const MAX_ORDER = 8191

export function archivePart(store: ArchiveStore, account: BareJid): UserDataPart {
  const tags = { start: `<archive xmlns='${PIE_ARCHIVE_NS}'>`, end: '</archive>' }
  return longPart(tags, results(store, account))
}

async function* results(store: ArchiveStore, { full }: BareJid): AsyncIterable<Octets> {
  const all = { ...ALL_IDS, owner: full, withGroupchat: true }
  for (let after: string = ALL_IDS.after; ; ) {
    const page = await store.window({ ...all, after }, PAGE)
    for (const { id, xml } of page) {
      const inner = forwarded(encode(xml), delay({ at: timeOf(id) }))
      yield `<result xmlns='${MAM_NS}' id='${id}'>${inner}</result>` as Octets
      after = id
    }
    if (page.length === 0) return
  }
}

/** Where a run over one archive is. */
type Run = { at: number; order: number }

/** Takes in archives. Ids of our own stay; others get one that the same message always gets. */
export class ArchiveImport {
  readonly #store: ArchiveStore
  readonly #runs = new WeakMap<Element, Run>()

  constructor(store: ArchiveStore) {
    this.#store = store
  }

  /** Resolves when all are safe. `now` in milliseconds since 1970: nothing is from later. */
  async take(owner: BareJid, { part, items }: UserDataPortion, now: number): Promise<Taken> {
    const run = this.#runs.get(part) ?? { at: -1, order: 0 }
    this.#runs.set(part, run)
    const problems: string[] = []
    const wanted: ArchivedMessage[] = []
    for (const item of items) {
      const message = this.#read(owner, item, run, now)
      if (typeof message === 'string') problems.push(message)
      else wanted.push(message)
    }
    const ids = wanted.map(({ id }) => id)
    const there = await this.#store.byIds(owner.full, ids)
    const missing = wanted.filter((_, index) => there[index] === undefined)
    await this.#store.insert(missing)
    const added = missing.length
    return taken({ added, there: wanted.length - added, problems })
  }

  #read(owner: BareJid, result: Element, run: Run, now: number): ArchivedMessage | string {
    const wrapped = result.child('forwarded', FORWARD_NS)
    const message = wrapped?.child('message', CLIENT_NS)
    const stamp = wrapped
      ?.elements()
      .map(readDelay)
      .find((each) => each !== undefined)
    const named = result.attr('id') ?? ''
    if (message === undefined || stamp === undefined) {
      return `archived "${named}": no message with its time`
    }
    const from = tryParseJid(message.attr('from')) ?? owner
    const to = tryParseJid(message.attr('to')) ?? owner
    const stanza = Stanza.fromElement(message)
    const xml = decode(stanza.toWrapped(from, to))
    const at = Math.min(stamp.at, now)
    run.order = run.at === at ? Math.min(run.order + 1, MAX_ORDER) : 0
    run.at = at
    const isOwn = isArchiveId(named) && timeOf(named) <= now
    return {
      owner: owner.full,
      id: isOwn ? named : idAt(at, run.order, hashOf(named, xml)),
      peer: from.bareEquals(owner) ? to : from,
      isGroupchat: stanza.type === 'groupchat',
      xml,
      text: this.#store.fullText === undefined ? undefined : textOf(stanza),
    }
  }
}

/** 32 bits that are always the same for a message. */
function hashOf(id: string, xml: string): number {
  return createHash('sha256').update(`${id}\0${xml}`).digest().readUInt32BE()
}

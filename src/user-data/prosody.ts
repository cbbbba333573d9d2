/** What Prosody keeps in files (`storage = "internal"`, its default), as events of an import. */
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PIE_ARCHIVE_NS, PIE_NS } from '../core/user-data.ts'
import { delay } from '../xmpp/delay.ts'
import { FORWARD_NS } from '../xmpp/forward.ts'
import { type BareJid, tryParseJid } from '../xmpp/jid.ts'
import { octetsOf } from '../xmpp/octets.ts'
import { type Element, el } from '../xmpp/xml.ts'
import { UserDataError, type UserDataEvent } from './events.ts'
import { LuaEndError, LuaError, LuaReader, type LuaTable, type LuaValue, textOf } from './lua.ts'
import {
  accountOf,
  archivePreferences,
  blocklist,
  isTable,
  privacyLists,
  privateXml,
  requests,
  rosterQuery,
  scramCredentials,
  stanzaOf,
  textIn,
} from './prosody-stores.ts'

type Options = {
  readonly onBytes: (bytes: number) => void
  readonly onFile: (bytes: number) => void
}

/** Of one file that is read as a whole, or one item of a list. */
const MAX_VALUE = 64 * 1024 * 1024
const CHUNK = 256 * 1024
/** Messages that are told together. */
const PORTION = 200

/** Stores that hold what we have no place for; told once. */
const UNKNOWN_STORES: Readonly<Record<string, string>> = {
  pep: 'nodes of personal eventing',
  vcard_muc: 'pictures of rooms',
  muc_log: 'archives of rooms',
  cloud_notify: 'registrations for pushes',
}

/**
 * Reads a `data_path`: a directory for each host, in it one for each store, in it a file for each
 * account. Nothing in them is carried out. Rejects with a `UserDataError` where that is no such directory.
 */
export async function* readProsodyData(
  directory: string,
  options: Options,
): AsyncGenerator<UserDataEvent> {
  let isEmpty = true
  for (const encoded of await directoriesIn(directory)) {
    const host = join(directory, encoded)
    const stores = await directoriesIn(host)
    if (!stores.includes('accounts')) continue
    isEmpty = false
    const domain = decodeName(encoded)
    for (const [store, what] of Object.entries(UNKNOWN_STORES)) {
      if (stores.includes(store)) {
        yield { kind: 'problem', place: `${encoded}/${store}`, text: `${what} are left out` }
      }
    }
    const files = (await readdir(join(host, 'accounts'))).filter((name) => name.endsWith('.dat'))
    for (const file of files.sort()) {
      const user = new ProsodyUser(host, file.slice(0, -'.dat'.length), options)
      yield* user.read(domain)
    }
  }
  if (isEmpty) {
    throw new UserDataError(`${directory}: no accounts as Prosody keeps them in files`)
  }
}

class ProsodyUser {
  readonly #host: string
  readonly #name: string
  readonly #options: Options

  constructor(host: string, name: string, options: Options) {
    this.#host = host
    this.#name = name
    this.#options = options
  }

  async *read(domain: string): AsyncGenerator<UserDataEvent> {
    const place = this.#place('accounts')
    const local = decodeName(this.#name)
    const jid = tryParseJid(`${local}@${domain}`)
    if (jid === undefined || jid.local === '' || !jid.isBare) {
      yield { kind: 'problem', place, text: `"${local}@${domain}": no address of an account` }
      return
    }
    const account = jid.toBare()
    const credentials: UserDataEvent[] = []
    // Of salts every octet counts.
    const kept = yield* this.#value('accounts', (octets) => octets)
    if (!isTable(kept)) return
    const password = textIn(kept, 'password')
    yield { kind: 'user', place, account, password: password && textOf(password) }
    for (const part of [accountOf(kept), scramCredentials(kept)]) {
      if (part !== undefined) credentials.push(whole(part, place))
    }
    yield* credentials
    yield* this.#parts(account)
    yield* this.#messages(account, 'offline')
    yield* this.#messages(account, 'archive')
  }

  /** What is a file with one value. */
  async *#parts(account: BareJid): AsyncGenerator<UserDataEvent> {
    const readers: Readonly<Record<string, (value: LuaTable) => readonly (Element | undefined)[]>> =
      {
        roster: (value) => [rosterQuery(value, account), ...requests(value)],
        vcard: (value) => [stanzaOf(value)],
        private: (value) => [privateXml(value)],
        blocklist: (value) => [blocklist(value)],
        privacy: (value) => [privacyLists(value)],
        archive_prefs: (value) => [archivePreferences(value)],
      }
    for (const [store, read] of Object.entries(readers)) {
      const value = yield* this.#value(store)
      if (!isTable(value)) continue
      for (const part of read(value)) if (part !== undefined) yield whole(part, this.#place(store))
    }
  }

  async *#value(
    store: string,
    textFrom = textOf,
  ): AsyncGenerator<UserDataEvent, LuaValue | undefined> {
    const { onBytes, onFile } = this.#options
    const file = join(this.#host, store, `${this.#name}.dat`)
    const place = this.#place(store)
    const size = await sizeOf(file)
    if (size === undefined) return undefined
    onFile(size)
    onBytes(size)
    if (size > MAX_VALUE) {
      yield { kind: 'problem', place, text: 'the file is too big' }
      return undefined
    }
    const octets = octetsOf(await readFile(file))
    try {
      return new LuaReader(octets, 0, textFrom).returned()
    } catch (error) {
      if (!(error instanceof LuaError)) throw error
      yield { kind: 'problem', place, text: at(octets, error) }
      return undefined
    }
  }

  /** Lists of messages: those that wait, or an archive. */
  async *#messages(account: BareJid, store: 'offline' | 'archive'): AsyncGenerator<UserDataEvent> {
    const file = join(this.#host, store, `${this.#name}.list`)
    const part =
      store === 'offline'
        ? el('offline-messages', { xmlns: PIE_NS })
        : el('archive', { xmlns: PIE_ARCHIVE_NS })
    const place = this.#place(store)
    let items: Element[] = []
    for await (const value of this.#items(file)) {
      if (typeof value === 'string') {
        yield { kind: 'problem', place, text: value }
        continue
      }
      const item = store === 'offline' ? offlineMessage(value, account) : result(value)
      if (item === undefined) {
        yield { kind: 'problem', place, text: 'an item is no message with its time' }
        continue
      }
      if (items.push(item) < PORTION) continue
      yield { kind: 'portion', place, portion: { part, items } }
      items = []
    }
    if (items.length > 0) yield { kind: 'portion', place, portion: { part, items } }
  }

  /** A text says why nothing more can be read. */
  async *#items(file: string): AsyncGenerator<LuaTable | string> {
    const { onBytes, onFile } = this.#options
    const size = await sizeOf(file)
    if (size === undefined) return
    onFile(size)
    await using handle = await open(file, 'r')
    const buffer = Buffer.alloc(CHUNK)
    let held = ''
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK)
      onBytes(bytesRead)
      held += octetsOf(buffer, 0, bytesRead)
      const reader = new LuaReader(held)
      let end = 0
      try {
        while (!reader.isAtEnd) {
          const value = reader.item()
          end = reader.at
          if (isTable(value)) yield value
        }
        end = held.length
      } catch (error) {
        if (!(error instanceof LuaError)) throw error
        const isWhole = bytesRead === 0 || !(error instanceof LuaEndError)
        if (isWhole || held.length - end > MAX_VALUE) return yield at(held, error)
      }
      held = held.slice(end)
      if (bytesRead === 0) return
    }
  }

  #place(store: string): string {
    return `${basename(this.#host)}/${store}/${this.#name}`
  }
}

function whole(part: Element, place: string): UserDataEvent {
  return { kind: 'portion', place, portion: { part, items: part.elements() } }
}

function at(octets: string, error: LuaError): string {
  return `line ${octets.slice(0, error.at).split('\n').length}: ${error.message}`
}

/** Seconds since 1970, of the item or of its stanza. */
function timeOf(item: LuaTable): number | undefined {
  const when = item.get('when')
  return typeof when === 'number' && Number.isFinite(when) ? Math.floor(when * 1_000) : undefined
}

function offlineMessage(item: LuaTable, { domain }: BareJid): Element | undefined {
  const message = stanzaOf(item)
  if (message?.name !== 'message') return undefined
  const time = timeOf(item) ?? Date.parse(message.attr('stamp') ?? '')
  const own = message.withAttributes({ stamp: undefined, stamp_legacy: undefined })
  if (Number.isNaN(time)) return own
  const from = tryParseJid(domain)
  return own.withChildren(...own.children, delay({ at: time, from }))
}

function result(item: LuaTable): Element | undefined {
  const message = stanzaOf(item)
  const time = timeOf(item)
  if (message?.name !== 'message' || time === undefined) return undefined
  const id = textIn(item, 'key')
  const own = message.withAttributes({ stamp: undefined })
  const forwarded = el('forwarded', { xmlns: FORWARD_NS }, delay({ at: time }), own)
  return el('result', { xmlns: 'urn:xmpp:mam:2', id }, forwarded)
}

/** `undefined` where there is none; one that cannot be had is not taken for that. */
async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
}

async function directoriesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

/** Bytes that file names should not have are written as `%xx`. */
function decodeName(encoded: string): string {
  const octets = encoded.replace(/%([0-9a-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(octets, 'latin1').toString('utf8')
}

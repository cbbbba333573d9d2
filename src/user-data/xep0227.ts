import { realpath, stat } from 'node:fs/promises'
import { basename, dirname, resolve, sep } from 'node:path'
import { PIE_ARCHIVE_NS, PIE_NS, type UserDataPortion } from '../core/user-data.ts'
import { type BareJid, tryParseJid } from '../xmpp/jid.ts'
import type { Element } from '../xmpp/xml.ts'
import { UserDataError, type UserDataEvent } from './events.ts'
import { readXml } from './xml-events.ts'

const XINCLUDE_NS = 'http://www.w3.org/2001/XInclude'

/** Children of a long part that are told together. */
const PORTION = 200
/** The same, by what their markup takes, roughly. */
const PORTION_BYTES = 512 * 1024

/** Parts that are told in portions. */
const LONG: ReadonlyMap<string, string> = new Map([
  ['offline-messages', PIE_NS],
  ['archive', PIE_ARCHIVE_NS],
])

/** What may stand in what. */
const INSIDE: Readonly<Record<string, string>> = {
  '': 'server-data',
  'server-data': 'host',
  host: 'user',
}

/** Hosts, users and their parts may be files of their own. */
const MAX_INCLUDING = 3

type Options = {
  readonly onBytes: (bytes: number) => void
  /** What is to be read grew by so many bytes. */
  readonly onFile?: (bytes: number) => void
}

/**
 * Reads a document of XEP-0227 with what it includes (§5). Files outside of its own directory are not
 * included. Rejects with a `UserDataError` that says where it cannot be read on.
 */
export async function* readServerData(
  file: string,
  options: Options,
): AsyncGenerator<UserDataEvent> {
  const root = await realpath(resolve(file))
  const reader = new Reader(dirname(root), options)
  yield* reader.read(root, [])
}

/** Where a reader is: in which elements. */
type Level = {
  readonly name: string
  readonly jid?: string
  readonly account?: BareJid | undefined
}

class Reader {
  readonly #directory: string
  readonly #options: Options

  constructor(directory: string, options: Options) {
    this.#directory = directory
    this.#options = options
  }

  async *read(
    file: string,
    outside: readonly Level[],
    including = 0,
  ): AsyncGenerator<UserDataEvent> {
    const { onBytes, onFile } = this.#options
    onFile?.((await stat(file)).size)
    const levels = [...outside]
    const name = basename(file)
    const isOpened = (path: readonly Element[]) =>
      isFrame(path.at(-1) as Element, path.at(-2)?.name ?? outside.at(-1)?.name ?? '')
    // What somebody has whose address is none is nobody's.
    const ofUser = (portion: UserDataPortion, place: string): UserDataEvent[] =>
      levels.at(-1)?.account === undefined ? [] : [{ kind: 'portion', place, portion }]
    let long: { readonly part: Element; items: Element[]; weight: number } | undefined
    for await (const event of readXml(file, isOpened, onBytes)) {
      const place = `${name}:${event.line}`
      if (event.kind === 'end') {
        if (long !== undefined) {
          if (long.items.length > 0) yield* ofUser(long, place)
          long = undefined
        } else levels.pop()
        continue
      }
      const { element } = event
      if (event.kind === 'start') {
        if (LONG.get(element.name) === element.ns) long = { part: element, items: [], weight: 0 }
        else yield* this.#enter(element, levels, place)
        continue
      }
      if (long !== undefined) {
        long.items.push(element)
        long.weight += weigh(element)
        if (long.items.length < PORTION && long.weight < PORTION_BYTES) continue
        yield* ofUser({ part: long.part, items: long.items }, place)
        long = { part: long.part, items: [], weight: 0 }
        continue
      }
      if (element.name === 'include' && element.ns === XINCLUDE_NS) {
        if (including >= MAX_INCLUDING)
          throw new UserDataError(`${place}: too many files in one another`)
        yield* this.read(await this.#included(file, element, place), levels, including + 1)
        continue
      }
      if (levels.at(-1)?.account !== undefined) {
        yield* ofUser({ part: element, items: element.elements() }, place)
      } else if (levels.length === 0) {
        throw new UserDataError(`${place}: <${element.name}/> is not server data (XEP-0227)`)
      } else if (levels.at(-1)?.name !== 'user') {
        yield {
          kind: 'problem',
          place,
          text: `<${element.name}/> in namespace ${element.ns}: unknown`,
        }
      }
    }
  }

  *#enter(element: Element, levels: Level[], place: string): Generator<UserDataEvent> {
    const { name } = element
    if (name === 'host') {
      levels.push({ name, jid: element.attr('jid') ?? '' })
      return
    }
    if (name !== 'user') {
      levels.push({ name })
      return
    }
    const domain = levels.findLast((level) => level.name === 'host')?.jid ?? ''
    const text = `${element.attr('name') ?? ''}@${domain}`
    const account = tryParseJid(text)
    if (account === undefined || account.local === '' || !account.isBare) {
      levels.push({ name })
      yield { kind: 'problem', place, text: `user "${text}": no address of an account` }
      return
    }
    levels.push({ name, account: account.toBare() })
    yield { kind: 'user', place, account: account.toBare(), password: element.attr('password') }
  }

  /** XEP-0227 §5: a relative URI, and neither `parse` nor `xpointer`. */
  async #included(file: string, element: Element, place: string): Promise<string> {
    const href = element.attr('href') ?? ''
    const refused = (why: string) => new UserDataError(`${place}: include of "${href}": ${why}`)
    if (element.attr('parse') !== undefined || element.attr('xpointer') !== undefined) {
      throw refused('only whole files of XML')
    }
    if (href === '' || /^[a-z][a-z0-9+.-]*:|^\/|[?#]/i.test(href))
      throw refused('only relative paths')
    let found: string
    try {
      found = await realpath(resolve(dirname(file), decodeURIComponent(href)))
    } catch {
      throw refused('there is no such file')
    }
    if (!found.startsWith(this.#directory + sep) || found === file) {
      throw refused('only below the directory of the first file')
    }
    return found
  }
}

/** Whether an element is told as it begins, inside of one of that name. */
function isFrame({ name, ns }: Element, outer: string): boolean {
  if (outer === 'user') return LONG.get(name) === ns
  return ns === PIE_NS && INSIDE[outer] === name
}

/** What an element takes in octets, roughly. */
function weigh({ children }: Element): number {
  let weight = 100
  for (const node of children) weight += typeof node === 'string' ? node.length : weigh(node)
  return weight
}

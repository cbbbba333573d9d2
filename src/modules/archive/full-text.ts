import type { Statement, Storage } from '../../core/storage.ts'
import { encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { postgresWords } from './full-text-postgres.ts'
import { sqliteWords } from './full-text-sqlite.ts'

/** What a message says, as far as one can search for it: its bodies, in all languages. */
export function textOf(stanza: Stanza): string {
  const bodies: string[] = []
  for (const [index, { name, ns }] of stanza.children.entries()) {
    if (name === 'body' && ns === CLIENT_NS) bodies.push(stanza.childAt(index)?.text ?? '')
  }
  return bodies.join('\n')
}

/** Ids, or what sorts among them, both excluded. */
export type Bounds = { readonly after: string; readonly before: string }

/** How a database keeps an index of the words in archived messages. */
export interface WordIndex {
  /** It follows on its own when messages are removed or replaced. */
  readonly create: readonly string[]
  readonly drop: readonly string[]
  /** Makes a message that was inserted before findable; may run twice. */
  insertion(owner: string, id: string, text: string): Statement
  /** A `from` and `where` that yields archived messages with all words of a search. */
  readonly matching: string
  /** What stands for the question marks of `matching`. */
  parameters(owner: string, words: readonly string[], bounds: Bounds): readonly string[]
}

// How far what was archived before is in it.
const CREATE_PROGRESS: readonly string[] = [
  'create table archive_text_progress (seq bigint not null, last bigint not null)',
  'insert into archive_text_progress select 0, coalesce(max(seq), 0) from archive',
]
const DROP_PROGRESS = 'drop table archive_text_progress'

const PROGRESS = 'select seq, last from archive_text_progress'
const OLDER = `select seq, owner, id, xml from archive
  where seq > ? and seq <= ? order by seq limit 200`
const EXTENDED =
  'update archive_text_progress set last = (select coalesce(max(seq), 0) from archive)'
const PROGRESSED = 'update archive_text_progress set seq = ?'

/** Letters and digits, as the index itself tells words. */
const WORD = /[\p{L}\p{N}\p{M}]+/gu
const MAX_WORDS = 32

/** Full text search, with what the database has to offer for it. */
export class FullText {
  readonly #storage: Storage
  readonly #words: WordIndex

  private constructor(storage: Storage) {
    this.#storage = storage
    this.#words = wordsOf(storage)
  }

  /** Rejects if the database has no such index to offer. */
  static async open(storage: Storage): Promise<FullText> {
    if (!(await isThere(storage))) {
      const statements = [...wordsOf(storage).create, ...CREATE_PROGRESS]
      try {
        await storage.writeAll(statements.map((sql) => ({ sql, parameters: [] })))
      } catch (error) {
        // Unless another server was quicker.
        if (!(await isThere(storage))) throw error
      }
    }
    return new FullText(storage)
  }

  /** The one that there is. */
  static async find(storage: Storage): Promise<FullText | undefined> {
    return (await isThere(storage)) ? new FullText(storage) : undefined
  }

  /** No index is wanted any more. One that was kept would miss what comes from now on. */
  static async remove(storage: Storage): Promise<void> {
    if (!(await isThere(storage))) return
    const statements = [...wordsOf(storage).drop, DROP_PROGRESS]
    await storage.writeAll(statements.map((sql) => ({ sql, parameters: [] })))
  }

  insertion(owner: string, id: string, text: string): Statement {
    return this.#words.insertion(owner, id, text)
  }

  get matching(): string {
    return this.#words.matching
  }

  /** The parameters for `matching`; `undefined` when there is no word in `search`. */
  parameters(owner: string, search: string, bounds: Bounds): readonly string[] | undefined {
    const words = search.match(WORD)?.slice(0, MAX_WORDS)
    return words === undefined ? undefined : this.#words.parameters(owner, words, bounds)
  }

  /** What was archived so far may not be in it. */
  async extend(): Promise<void> {
    await this.#storage.write(EXTENDED, [])
  }

  /** Indexes what was archived before there was an index, until `isStopped`. */
  async catchUp(isStopped: () => boolean): Promise<void> {
    const [progress] = await this.#storage.read<{ seq: number; last: number }>(PROGRESS, [])
    if (progress === undefined) return
    let { seq } = progress
    while (seq < progress.last && !isStopped()) {
      const rows = await this.#storage.read<{
        seq: number
        owner: string
        id: string
        xml: string
      }>(OLDER, [seq, progress.last])
      seq = rows.at(-1)?.seq ?? progress.last
      const insertions = rows.map(({ owner, id, xml }) => this.insertion(owner, id, bodyOf(xml)))
      await this.#storage.writeAll([...insertions, { sql: PROGRESSED, parameters: [seq] }])
    }
  }
}

function wordsOf({ dialect }: Storage): WordIndex {
  return dialect === 'sqlite' ? sqliteWords : postgresWords
}

async function isThere(storage: Storage): Promise<boolean> {
  return storage.read(PROGRESS, []).then(
    () => true,
    () => false,
  )
}

function bodyOf(xml: string): string {
  return textOf(Stanza.fromElement(readElement(encode(xml), CLIENT_NS)))
}

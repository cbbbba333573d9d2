import type { Statement, Storage } from '../../core/storage.ts'
import { encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'

/** What a message says, as far as one can search for it: its bodies, in all languages. */
export function textOf(stanza: Stanza): string {
  const bodies: string[] = []
  for (const [index, { name, ns }] of stanza.children.entries()) {
    if (name === 'body' && ns === CLIENT_NS) bodies.push(stanza.childAt(index)?.text ?? '')
  }
  return bodies.join('\n')
}

/**
 * An index of the words in archived messages, in the dialect of the database. It follows on its own
 * when messages are removed or replaced.
 */
export interface FullText {
  /** Makes a message that was inserted before findable; may run twice. */
  insertion(owner: string, id: string, text: string): Statement
  /**
   * A `from` and `where` that yields archived messages with all words of a search. It has three
   * parameters; they come first.
   */
  readonly matching: string
  /** What to order by to get them in the order of the archive. */
  readonly order: string
  /** The parameters for `matching`; `undefined` when there is no word in `search`. */
  parameters(owner: string, search: string, bounds: Bounds): readonly string[] | undefined
}

/** Ids, or what sorts among them, both excluded. */
type Bounds = { readonly after: string; readonly before: string }

const CREATE: readonly string[] = [
  // The words alone: the messages are in the archive.
  `create virtual table archive_text using fts5(
    owner, body, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')`,
  `create trigger archive_text_removed after delete on archive begin
    delete from archive_text where rowid = old.seq; end`,
  `create trigger archive_text_replaced after update of xml on archive begin
    delete from archive_text where rowid = old.seq; end`,
  // How far what was archived before is in it.
  'create table archive_text_progress (seq integer not null, last integer not null)',
  'insert into archive_text_progress select 0, coalesce(max(seq), 0) from archive',
]
const DROP: readonly string[] = [
  'drop trigger archive_text_removed',
  'drop trigger archive_text_replaced',
  'drop table archive_text',
  'drop table archive_text_progress',
]
const IS_THERE = 'select seq from archive_text_progress'

const INSERT = `insert or replace into archive_text (rowid, owner, body)
  select seq, ?, ? from archive where owner = ? and id = ?`

const PROGRESS = 'select seq, last from archive_text_progress'
const OLDER = `select seq, owner, id, xml from archive
  where seq > ? and seq <= ? order by seq limit 200`
const PROGRESSED = 'update archive_text_progress set seq = ?'

/** Letters and digits, as the index itself tells words. */
const WORD = /[\p{L}\p{N}\p{M}]+/gu
const MAX_WORDS = 32

/** Full text search by SQLite's FTS5. */
export class SqliteFullText implements FullText {
  readonly #storage: Storage

  private constructor(storage: Storage) {
    this.#storage = storage
  }

  /** Rejects if the database has no such index to offer. */
  static async open(storage: Storage): Promise<SqliteFullText> {
    if (!(await isThere(storage))) {
      await storage.writeAll(CREATE.map((sql) => ({ sql, parameters: [] })))
    }
    return new SqliteFullText(storage)
  }

  /** No index is wanted any more. One that was kept would miss what comes from now on. */
  static async remove(storage: Storage): Promise<void> {
    if (!(await isThere(storage))) return
    await storage.writeAll(DROP.map((sql) => ({ sql, parameters: [] })))
  }

  insertion(owner: string, id: string, text: string): Statement {
    return { sql: INSERT, parameters: [tokenOf(owner), text, owner, id] }
  }

  readonly matching = `from archive_text join archive on archive.seq = archive_text.rowid
    where archive_text match ?
      and archive_text.rowid > coalesce(
        (select seq from archive where owner = ? and id > ? order by id limit 1), 0) - 1`

  readonly order = 'archive_text.rowid'

  parameters(owner: string, search: string, { after }: Bounds): readonly string[] | undefined {
    const words = search.match(WORD)?.slice(0, MAX_WORDS)
    if (words === undefined) return undefined
    const quoted = words.map((word) => `"${word}"`).join(' AND ')
    return [`owner : ${tokenOf(owner)} AND body : (${quoted})`, owner, after]
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

async function isThere(storage: Storage): Promise<boolean> {
  return storage.read(IS_THERE, []).then(
    () => true,
    () => false,
  )
}

/** One word for an account, made of hexadecimal digits. */
function tokenOf(owner: string): string {
  return `o${Buffer.from(owner, 'utf8').toString('hex')}`
}

function bodyOf(xml: string): string {
  return textOf(Stanza.fromElement(readElement(encode(xml), CLIENT_NS)))
}

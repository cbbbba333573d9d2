import { createHash } from 'node:crypto'
import type { WordIndex } from './full-text.ts'

/** Of one message. */
const MAX_LEXEMES = 20_000
/** In bytes, altogether: beyond 1 MiB a `tsvector` is damaged, and PostgreSQL does not say so. */
const MAX_BYTES = 1_000_000
/** A lexeme may have 2046 bytes. */
const MAX_LENGTH = 100

const WORD = /[\p{L}\p{N}\p{Co}]+/gu
const MARKS = /\p{Mn}+/gu

/**
 * A `tsvector` of its own for each message, whose words are told here, in the same way as FTS5
 * does: PostgreSQL's own parsers see addresses, hyphens and numbers in other places. One of them
 * stands for the account, so that one index serves all archives.
 */
export const postgresWords: WordIndex = {
  create: [
    'create table archive_text (seq bigint primary key, words tsvector not null)',
    'create index archive_text_words on archive_text using gin (words)',
    `create function archive_text_forget() returns trigger language plpgsql as $$ begin
      delete from archive_text where seq = old.seq; return null; end $$`,
    `create trigger archive_text_removed after delete on archive
      for each row execute function archive_text_forget()`,
    `create trigger archive_text_replaced after update of xml on archive
      for each row execute function archive_text_forget()`,
  ],
  drop: [
    'drop trigger archive_text_removed on archive',
    'drop trigger archive_text_replaced on archive',
    'drop function archive_text_forget',
    'drop table archive_text',
  ],

  insertion(owner, id, text) {
    const lexemes = [ownerLexeme(owner), ...lexemesOf(text)].join(' ')
    return {
      sql: `insert into archive_text (seq, words)
        select seq, array_to_tsvector(string_to_array(?, ' ')) from archive where owner = ? and id = ?
        on conflict (seq) do update set words = excluded.words`,
      parameters: [lexemes, owner, id],
    }
  },

  matching: `from archive_text join archive on archive.seq = archive_text.seq
    where archive_text.words @@ cast(? as tsquery)`,

  parameters(owner, words) {
    const lexemes = [ownerLexeme(owner), ...lexemesOf(words.join(' '))]
    return [lexemes.map((lexeme) => `'${lexeme}'`).join(' & ')]
  },
}

/** Without a letter's marks and case; each once. */
function lexemesOf(text: string): readonly string[] {
  const plain = text.normalize('NFD').replace(MARKS, '').toLowerCase()
  const lexemes = new Set<string>()
  let bytes = 0
  for (const [word] of plain.matchAll(WORD)) {
    const lexeme = [...word].slice(0, MAX_LENGTH).join('')
    if (lexemes.has(lexeme)) continue
    bytes += Buffer.byteLength(lexeme)
    if (bytes > MAX_BYTES || lexemes.size === MAX_LEXEMES) break
    lexemes.add(lexeme)
  }
  return [...lexemes]
}

/** Begins with what is in no word of a message. */
function ownerLexeme(owner: string): string {
  return `@${createHash('sha256').update(owner).digest('hex')}`
}

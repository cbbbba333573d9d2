import type { WordIndex } from './full-text.ts'

/** FTS5 (https://www.sqlite.org/fts5.html). */
export const sqliteWords: WordIndex = {
  create: [
    // The words alone: the messages are in the archive.
    `create virtual table archive_text using fts5(
      owner, body, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')`,
    `create trigger archive_text_removed after delete on archive begin
      delete from archive_text where rowid = old.seq; end`,
    `create trigger archive_text_replaced after update of xml on archive begin
      delete from archive_text where rowid = old.seq; end`,
  ],
  drop: [
    'drop trigger archive_text_removed',
    'drop trigger archive_text_replaced',
    'drop table archive_text',
  ],

  insertion(owner, id, text) {
    return {
      sql: `insert or replace into archive_text (rowid, owner, body)
        select seq, ?, ? from archive_index where owner = ? and id = ?`,
      parameters: [ownerToken(owner), text, owner, id],
    }
  },

  // First the index, for what the bounds enclose: that is a part of it, but for what came from elsewhere.
  matching: `from archive_text cross join archive on archive.seq = archive_text.rowid
    where archive_text match ?
      and archive_text.rowid >= (
        select min(seq) from archive_index where owner = ? and id > ? and id < ?)
      and archive_text.rowid <= (
        select max(seq) from archive_index where owner = ? and id > ? and id < ?)`,

  parameters(owner, words, { after, before }) {
    const quoted = words.map((word) => `"${word}"`).join(' AND ')
    const bounds = [owner, after, before]
    return [`owner : ${ownerToken(owner)} AND body : (${quoted})`, ...bounds, ...bounds]
  },
}

/** One word for an account, made of hexadecimal digits: so one index serves all archives. */
function ownerToken(owner: string): string {
  return `o${Buffer.from(owner, 'utf8').toString('hex')}`
}

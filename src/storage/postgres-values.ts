import { type SqlRow, StorageError } from '../core/storage.ts'

/** A value on its way to the server: text, or bytes as they are. */
export type WireValue = string | Buffer | null

/** Copied, since the caller may reuse its buffer; `weigh` has found them to be fit. */
export function toWire(values: readonly unknown[]): WireValue[] {
  const wire: WireValue[] = []
  for (const value of values) {
    if (typeof value === 'string' || value === null) wire.push(value)
    else if (value instanceof Uint8Array) wire.push(Buffer.from(value))
    else wire.push(String(value))
  }
  return wire
}

/** Quoted texts, quoted names, comments; question marks in them stand for themselves. */
const PARTS = /'[^']*'|"[^"]*"|--[^\n]*|\/\*[\s\S]*?\*\/|\?/g

/** The text as PostgreSQL reads it: `$1`, `$2` … instead of question marks. */
export function numbered(sql: string): string {
  let count = 0
  return sql.replace(PARTS, (part) => (part === '?' ? `$${++count}` : part))
}

type Parse = (text: string) => string | number | Uint8Array

/** By the types' numbers (`pg_type.oid`, fixed in `pg_type.dat`); all others are texts. */
const parsers: ReadonlyMap<number, Parse> = new Map<number, Parse>([
  [16, (text) => (text === 't' ? 1 : 0)], // boolean
  [17, (text) => new Uint8Array(Buffer.from(text.slice(2), 'hex'))], // bytea, as \x…
  [20, toInteger], // bigint
  [21, Number], // smallint
  [23, Number], // integer
  [26, Number], // oid
  [700, Number], // real
  [701, Number], // double precision
  [1700, (text) => (/^-?\d+$/.test(text) ? toInteger(text) : Number(text))], // numeric
])

const asText: Parse = (text) => text

function toInteger(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value
  throw new StorageError('other', `A number cannot hold the integer ${text}`)
}

export type Column = { readonly name: string; readonly parse: Parse }

export function toColumns(
  fields: readonly { readonly name: string; readonly dataTypeID: number }[],
): readonly Column[] {
  return fields.map(({ name, dataTypeID }) => ({ name, parse: parsers.get(dataTypeID) ?? asText }))
}

/** Throws a `StorageError` on an integer that a number cannot hold. */
export function toRow(columns: readonly Column[], fields: readonly (string | null)[]): SqlRow {
  const row: SqlRow = {}
  for (let i = 0; i < columns.length; i++) {
    const { name, parse } = columns[i] as Column
    const text = fields[i]
    row[name] = text === null || text === undefined ? null : parse(text)
  }
  return row
}

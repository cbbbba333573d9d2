/**
 * Reads data that Prosody has written in the syntax of Lua: constants, nothing that would be carried out.
 * Texts are octets in Lua; here they are text where they are UTF-8.
 */

export type LuaValue = string | number | boolean | null | LuaTable

/** Keys as Lua has them: 1 is another key than "1". */
export type LuaTable = ReadonlyMap<string | number | boolean, LuaValue>

/** It is something else; where, in characters from the beginning. */
export class LuaError extends Error {
  override readonly name = 'LuaError'
  readonly at: number

  constructor(what: string, at: number) {
    super(what)
    this.at = at
  }
}

/** The text ends in the midst of something. */
export class LuaEndError extends LuaError {}

const MAX_DEPTH = 200

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y
const NUMBER = /-?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)/y
const BLANK = /(?:\s+|--[^\n]*(?:\n|$))*/y
/** How numbers that are none are written. */
const DIVISION = /\(?(-?[01])\/0\)?/y
const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
  '\n': '\n',
}

/** A value at a time. `octets`: one character for each byte. */
export class LuaReader {
  readonly #octets: string
  readonly #textFrom: (octets: string) => string
  #at: number

  /** `textFrom`: what texts are made into, in place of text. */
  constructor(octets: string, at = 0, textFrom = textOf) {
    this.#octets = octets
    this.#at = at
    this.#textFrom = textFrom
  }

  /** Behind what was read. */
  get at(): number {
    return this.#at
  }

  /** Whether nothing is left but blanks and comments. */
  get isAtEnd(): boolean {
    this.#skip()
    return this.#at >= this.#octets.length
  }

  /** `return VALUE;`. Throws `LuaError`. */
  returned(): LuaValue {
    this.#word('return')
    const value = this.#value(0)
    this.#skip()
    if (this.#octets[this.#at] === ';') this.#at++
    if (!this.isAtEnd) throw this.#wrong('more behind the value')
    return value
  }

  /** `item(VALUE);`, one of a list. Throws `LuaError`, `LuaEndError` when more may make it whole. */
  item(): LuaValue {
    this.#word('item')
    this.#sign('(')
    const value = this.#value(0)
    this.#sign(')')
    this.#skip()
    if (this.#at >= this.#octets.length) throw new LuaEndError('the end of an item', this.#at)
    if (this.#octets[this.#at] === ';') this.#at++
    return value
  }

  #value(depth: number): LuaValue {
    if (depth > MAX_DEPTH) throw this.#wrong('tables too deep')
    this.#skip()
    const first = this.#octets[this.#at]
    if (first === undefined) throw new LuaEndError('a value', this.#at)
    if (first === '{') return this.#table(depth)
    if (first === '"' || first === "'") return this.#text(first)
    const division = this.#match(DIVISION)
    if (division !== undefined) {
      if (!division.includes('1')) return Number.NaN
      return division.includes('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
    }
    const number = this.#match(NUMBER)
    if (number !== undefined) return Number(number)
    const word = this.#match(NAME)
    if (word === 'true' || word === 'false') return word === 'true'
    if (word === 'nil') return null
    throw this.#wrong('no value')
  }

  #table(depth: number): LuaTable {
    this.#at++
    const table = new Map<string | number | boolean, LuaValue>()
    let next = 1
    for (;;) {
      this.#skip()
      const sign = this.#octets[this.#at]
      if (sign === undefined) throw new LuaEndError('the end of a table', this.#at)
      if (sign === '}') {
        this.#at++
        return table
      }
      const key = this.#key(depth)
      const value = this.#value(depth + 1)
      if (value !== null) table.set(key ?? next, value)
      if (key === undefined) next++
      this.#skip()
      const behind = this.#octets[this.#at]
      if (behind === ',' || behind === ';') this.#at++
      else if (behind !== '}' && behind !== undefined) throw this.#wrong('no end of an entry')
    }
  }

  /** `undefined`: the entry is the next in order. */
  #key(depth: number): string | number | boolean | undefined {
    if (this.#octets[this.#at] === '[') {
      this.#at++
      const key = this.#value(depth + 1)
      this.#sign(']')
      this.#sign('=')
      if (key === null || typeof key === 'object') throw this.#wrong('a key that cannot be one')
      return key
    }
    const start = this.#at
    const name = this.#match(NAME)
    this.#skip()
    if (name !== undefined && this.#octets[this.#at] === '=') {
      this.#at++
      return name
    }
    this.#at = start
    return undefined
  }

  #text(quote: string): string {
    const start = ++this.#at
    let text = ''
    let from = start
    for (;;) {
      const sign = this.#octets[this.#at]
      if (sign === undefined) throw new LuaEndError('the end of a text', this.#at)
      if (sign === quote) break
      if (sign !== '\\') {
        this.#at++
        continue
      }
      text += this.#octets.slice(from, this.#at) + this.#escaped()
      from = this.#at
    }
    text += this.#octets.slice(from, this.#at)
    this.#at++
    return this.#textFrom(text)
  }

  #escaped(): string {
    const rest = this.#octets.slice(this.#at + 1, this.#at + 4)
    const [sign] = rest
    if (sign === undefined) throw new LuaEndError('the end of a text', this.#at)
    const simple = ESCAPES[sign]
    if (simple !== undefined) {
      this.#at += 2
      return simple
    }
    const code = /^\d{1,3}/.exec(rest)?.[0]
    const hex = /^x([0-9a-fA-F]{2})/.exec(rest)?.[1]
    if (code === undefined && hex === undefined) throw this.#wrong('an unknown escape')
    const value = code === undefined ? Number.parseInt(hex as string, 16) : Number(code)
    if (value > 255) throw this.#wrong('an unknown escape')
    this.#at += 1 + (code?.length ?? 3)
    return String.fromCharCode(value)
  }

  #word(word: string): void {
    this.#skip()
    const found = this.#octets.slice(this.#at, this.#at + word.length)
    if (found !== word) {
      if (word.startsWith(found)) throw new LuaEndError(word, this.#at)
      throw this.#wrong(`no "${word}"`)
    }
    this.#at += word.length
  }

  #sign(sign: string): void {
    this.#skip()
    const found = this.#octets[this.#at]
    if (found === undefined) throw new LuaEndError(sign, this.#at)
    if (found !== sign) throw this.#wrong(`no "${sign}"`)
    this.#at++
  }

  #skip(): void {
    this.#match(BLANK)
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const [found] = pattern.exec(this.#octets) ?? []
    if (found === undefined) return undefined
    this.#at = pattern.lastIndex
    return found
  }

  #wrong(what: string): LuaError {
    return new LuaError(what, this.#at)
  }
}

/** Octets that are no UTF-8 stay as they are. */
export function textOf(octets: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is all of ASCII
  if (/^[\x00-\x7f]*$/.test(octets)) return octets
  const bytes = Buffer.from(octets, 'latin1')
  const text = bytes.toString('utf8')
  return text.includes('\ufffd') && !bytes.includes('\ufffd') ? octets : text
}

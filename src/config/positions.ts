/** Both count from 1, the column in UTF-16 units. */
export type Position = { readonly line: number; readonly column: number }

/** Keys and array indexes from the root: `["listen", "c2s", 0, "port"]`. */
export type Path = readonly PropertyKey[]

/**
 * Where each key and array element of a TOML document stands: the parser tells values only.
 *
 * A table that several headers or dotted keys contribute to stands where it is first named.
 */
export class Positions {
  readonly #offsets: ReadonlyMap<string, number>
  readonly #lineStarts: readonly number[]

  /** The document must be valid TOML: what the parser has already refused is not looked at. */
  constructor(toml: string) {
    this.#offsets = new Scan(toml).run()
    this.#lineStarts = [0, ...Array.from(toml.matchAll(/\n/g), (match) => match.index + 1)]
  }

  /** Where the key or element itself stands. */
  at(path: Path): Position | undefined {
    const offset = this.#offsets.get(pointer(path))
    return offset === undefined ? undefined : this.#position(offset)
  }

  /** Where it stands, or else the nearest table or array around it: a missing key has no place. */
  near(path: Path): Position | undefined {
    for (let length = path.length; length > 0; length--) {
      const position = this.at(path.slice(0, length))
      if (position) return position
    }
    return undefined
  }

  #position(offset: number): Position {
    const after = this.#lineStarts.findIndex((start) => start > offset)
    const line = after === -1 ? this.#lineStarts.length : after
    return { line, column: offset - (this.#lineStarts[line - 1] ?? 0) + 1 }
  }
}

function pointer(path: Path): string {
  return JSON.stringify(path.map(String))
}

const BLANK = /[ \t]*/y
/** Blanks, line ends and comments. */
const VOID = /(?:[ \t\r\n]|#[^\n]*)*/y
const BARE_KEY = /[A-Za-z0-9_-]+/y
const STRING =
  /"""(?:[^\\"]|\\[\s\S]|"{1,2}(?!"))*"{3,5}|'''(?:[^']|'{1,2}(?!'))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/y
/** Numbers, dates, booleans. */
const PLAIN_VALUE = /[^,\]}#\n]*/y

/** One pass over a document. Knows only as much of TOML as tells keys from everything else. */
class Scan {
  readonly #toml: string
  readonly #offsets = new Map<string, number>()
  /** For each array of tables, how many of its tables have begun. */
  readonly #tables = new Map<string, number>()
  #at = 0

  constructor(toml: string) {
    this.#toml = toml
  }

  run(): ReadonlyMap<string, number> {
    if (this.#toml.startsWith('\ufeff')) this.#at++
    let table: Path = []
    for (this.#skip(VOID); this.#at < this.#toml.length; this.#skip(VOID)) {
      if (this.#toml[this.#at] === '[') table = this.#header()
      else this.#keyValue(table)
    }
    return this.#offsets
  }

  #header(): Path {
    const start = this.#at
    const isArray = this.#toml[start + 1] === '['
    this.#at += isArray ? 2 : 1
    const keys = this.#dottedKey()
    this.#at += isArray ? 2 : 1

    let path: Path = []
    for (const [i, { key, offset }] of keys.entries()) {
      path = [...path, key]
      this.#record(path, offset)
      const begun = this.#tables.get(pointer(path))
      const isNew = isArray && i === keys.length - 1
      if (isNew) this.#tables.set(pointer(path), (begun ?? 0) + 1)
      if (isNew) path = [...path, begun ?? 0]
      else if (begun !== undefined) path = [...path, begun - 1]
    }
    this.#record(path, start)
    return path
  }

  #keyValue(table: Path): void {
    let path = table
    for (const { key, offset } of this.#dottedKey()) {
      path = [...path, key]
      this.#record(path, offset)
    }
    this.#at++ // the equals sign
    this.#skip(BLANK)
    this.#value(path)
  }

  #value(path: Path): void {
    const first = this.#toml[this.#at]
    if (first === '[') this.#array(path)
    else if (first === '{') this.#inlineTable(path)
    else if (first === '"' || first === "'") this.#skip(STRING)
    else this.#skip(PLAIN_VALUE)
  }

  #array(path: Path): void {
    this.#at++
    let index = 0
    while (this.#goesOn(']')) {
      const element = [...path, index++]
      this.#record(element, this.#at)
      this.#value(element)
    }
  }

  #inlineTable(path: Path): void {
    this.#at++
    while (this.#goesOn('}')) this.#keyValue(path)
  }

  /** Moves to the next item, or past `close`. */
  #goesOn(close: string): boolean {
    this.#skip(VOID)
    if (this.#toml[this.#at] === ',') this.#at++
    this.#skip(VOID)
    if (this.#at < this.#toml.length && this.#toml[this.#at] !== close) return true
    this.#at++
    return false
  }

  /** `a."b c".d`, leaving off after the blanks that follow it. */
  #dottedKey(): { readonly key: string; readonly offset: number }[] {
    const keys = []
    do {
      if (keys.length > 0) this.#at++ // the dot
      this.#skip(BLANK)
      const offset = this.#at
      keys.push({ key: this.#key(), offset })
      this.#skip(BLANK)
    } while (this.#toml[this.#at] === '.')
    return keys
  }

  #key(): string {
    const bare = this.#skip(BARE_KEY)
    if (bare !== '') return bare
    const quoted = this.#skip(STRING)
    return quoted.startsWith('"') ? unescaped(quoted.slice(1, -1)) : quoted.slice(1, -1)
  }

  /** What the pattern matches here, and goes behind it. */
  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const matched = pattern.exec(this.#toml)?.[0] ?? ''
    this.#at += matched.length
    return matched
  }

  #record(path: Path, offset: number): void {
    const key = pointer(path)
    if (!this.#offsets.has(key)) this.#offsets.set(key, offset)
  }
}

const ESCAPE = /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))/g
const ESCAPED: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  e: '\x1b',
}

function unescaped(text: string): string {
  return text.replace(ESCAPE, (_, byte?: string, short?: string, long?: string, char = '') => {
    const hex = byte ?? short ?? long
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    return ESCAPED[char] ?? char
  })
}

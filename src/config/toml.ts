import { parse, TomlError } from 'smol-toml'
import { ConfigError } from './problems.ts'

/** The tables of a file, dates as text. Throws ConfigError, with where it is no TOML. */
export function parseToml(text: string, file: string | undefined): unknown {
  try {
    return withDatesAsText(parse(text, { unsafeKeyBehaviour: 'throw' }))
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    const { line, column } = cause
    const reason = cause.message.replace(/^Invalid TOML document: /, '').split('\n', 1)[0]
    const problem = { path: [], text: `not TOML: ${reason}`, position: { line, column } }
    throw new ConfigError([problem], file, { cause })
  }
}

/** TOML's dates are objects, which a schema would take for tables. */
function withDatesAsText(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map(withDatesAsText)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, withDatesAsText(child)]),
  )
}

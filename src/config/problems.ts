import { z } from 'zod'
import { expectations, oneOf } from '../core/expectations.ts'
import { nearest } from './near.ts'
import type { Path, Position } from './positions.ts'
import { isSecret, withoutPasswords } from './secrets.ts'

/** One thing that is wrong, or strange, in a configuration. */
export type Problem = {
  readonly path: Path
  /** What was found and what was expected; reads on after the key. */
  readonly text: string
}

/** A problem and where it stands, if it came from a file. */
export type PlacedProblem = Problem & { readonly position?: Position | undefined }

/**
 * A configuration that cannot be used. Names everything that is wrong with it, a line each:
 * `meerkat.toml:11:1: listen.c2s[0].port: found 70000, expected a port from 0 to 65535`.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly file: string | undefined
  readonly problems: readonly PlacedProblem[]

  constructor(problems: readonly PlacedProblem[], file?: string, options?: ErrorOptions) {
    super(problems.map((problem) => describe(problem, file)).join('\n'), options)
    this.file = file
    this.problems = problems
  }
}

/** `meerkat.toml:11:1: listen.c2s[0].port: found 70000, …`. */
export function describe({ path, text, position }: PlacedProblem, file?: string): string {
  const place = [file ?? 'configuration', position?.line, position?.column]
  const key = keyPath(path)
  return [place.filter((part) => part !== undefined).join(':'), key, text]
    .filter((part) => part !== '')
    .join(': ')
}

/** `listen.c2s[0].port`, `tls.domains."im.example.com"`. */
export function keyPath(path: Path): string {
  return path
    .map((step, i) => {
      if (typeof step === 'number') return `[${step}]`
      const key = String(step)
      const written = /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key)
      return i === 0 ? written : `.${written}`
    })
    .join('')
}

type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Checks a part of the configuration that stands at `path`, and tells everything wrong with it. */
export function check<T>(schema: z.ZodType<T>, input: unknown, path: Path = []): Checked<T> {
  // An issue of unknown keys names these, not the ones there are.
  const knownKeys = new Map<unknown, readonly string[]>()
  const result = schema.safeParse(input, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys' && issue.inst instanceof z.ZodObject) {
        knownKeys.set(issue.input, Object.keys(issue.inst.shape))
      }
      return expectation(issue)
    },
  })
  if (result.success) return { ok: true, value: result.data }
  const toProblems = (issue: Issue) => problemsOf(issue, { input, path, knownKeys })
  return { ok: false, problems: result.error.issues.flatMap(toProblems) }
}

/** An element of an array with its index in the file: those before it may have been refused. */
export type Placed<T> = readonly [index: number, value: T]

/** Those elements that are right by themselves. */
export function soundElements<T>(schema: z.ZodType<T>, input: unknown): Placed<T>[] {
  if (!Array.isArray(input)) return []
  return input.flatMap((element: unknown, index) => {
    const checked = check(schema, element)
    return checked.ok ? [[index, checked.value] as const] : []
  })
}

type Issue = z.core.$ZodIssue

type Origin = {
  readonly input: unknown
  readonly path: Path
  readonly knownKeys: ReadonlyMap<unknown, readonly string[]>
}

function problemsOf(issue: Issue, origin: Origin): Problem[] {
  const path = [...origin.path, ...issue.path]
  const input = valueAt(origin.input, issue.path)
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = origin.knownKeys.get(input) ?? []
      return issue.keys.map((key) => ({ path: [...path, key], text: unknownKey(key, known) }))
    }
    case 'invalid_key':
      return [{ path, text: `found this key, expected ${issue.issues[0]?.message}` }]
    case 'invalid_union': {
      const within = issue.errors.filter((option) => option.every(isInside))
      if (within.length !== 1) break
      return (within[0] ?? []).flatMap((inner) =>
        problemsOf({ ...inner, path: [...issue.path, ...inner.path] }, origin),
      )
    }
  }
  const near = typeof input === 'string' ? nearest(input, valuesOf(issue)) : undefined
  return [{ path, text: expected(input, issue.message, { path, near }) }]
}

/** The option of a union was the right one: what is wrong lies in the table, not in its type. */
function isInside({ code, path }: Issue): boolean {
  return path.length > 0 || code === 'unrecognized_keys'
}

/** `found 70000, expected a port from 0 to 65535`. */
export function expected(
  input: unknown,
  expectation: string,
  { path = [], near }: { readonly path?: Path; readonly near?: string | undefined } = {},
): string {
  const found = input === undefined ? 'missing' : `found ${shown(input, path)}`
  return `${found}, expected ${expectation}${didYouMean(near)}`
}

export function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  if (near !== undefined) return `unknown key${didYouMean(near)}`
  return known.length === 0 ? 'unknown key' : `unknown key, expected ${oneOf(known)}`
}

export function didYouMean(near: string | undefined): string {
  return near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`
}

/** A value as one writes it in the file, cut short; never a secret one. */
function shown(value: unknown, path: Path): string {
  if (isSecret(path)) return 'a value (not shown: it is a secret)'
  if (typeof value === 'string') {
    const shown = withoutPasswords(value)
    return JSON.stringify(shown.length > 60 ? `${shown.slice(0, 60)}…` : shown)
  }
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array'
  if (typeof value === 'object' && value !== null) return 'a table'
  return String(value)
}

/** The words that the schema would have taken here. */
function valuesOf(issue: Issue): string[] {
  if (issue.code === 'invalid_union') {
    const here = issue.errors.flat().filter(({ path }) => path.length === 0)
    return here.flatMap(valuesOf)
  }
  if (issue.code !== 'invalid_value') return []
  return issue.values.filter((value) => typeof value === 'string')
}

function valueAt(input: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) => (isTable(value) ? value[String(step)] : undefined),
    input,
  )
}

/** Arrays are tables by number here. */
function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

const expectation = expectations({
  string: 'a text in quotes',
  array: 'an array',
  object: 'a table',
  record: 'a table',
})

import { isDeepStrictEqual } from 'node:util'
import type { LoadedConfig } from '../config.ts'
import type { Path } from './positions.ts'
import { keyPath } from './problems.ts'
import { isSecret, withoutPasswords } from './secrets.ts'

/** A key whose value is not the same in two files; defaults count. */
export type ConfigChange = {
  /** As in a file: `listen.c2s[127.0.0.1:5222].max_connections`. */
  readonly key: string
  /** As written; `undefined` where it is not there. Secrets are not shown. */
  readonly before: string | undefined
  readonly after: string | undefined
  /** It cannot change while the server runs. */
  readonly needsRestart: boolean
}

/** What may change while the server runs: these and all below. */
const CHANGEABLE: readonly Path[] = [
  ['domains'],
  ['routing_modules'],
  ['listen'],
  ['tls'],
  ['s2s'],
  ['auth'],
  ['limits'],
  ['delivery'],
  ['log', 'level'],
  ['tracing'],
  ['modules'],
  ['host'],
]
/** What of it may not, as long as the listener stays. */
function isBoundToSocket(path: Path): boolean {
  const [section, kind] = path
  return section === 'listen' && (kind === 'http' || path.at(-1) === 'backlog')
}

type Leaf = { readonly path: Path; readonly key: string; readonly value: unknown }

/** In the order of the keys of a file; what is there no more comes last. */
export function configChanges(before: LoadedConfig, after: LoadedConfig): ConfigChange[] {
  const old = leavesOf(before.settings)
  const now = leavesOf(after.settings)
  const changes: ConfigChange[] = []
  for (const key of new Set([...now.keys(), ...old.keys()])) {
    const [was, is] = [old.get(key), now.get(key)]
    if (was !== undefined && is !== undefined && isDeepStrictEqual(was.value, is.value)) continue
    const { path } = (is ?? was) as Leaf
    // A listener that comes or goes does so as a whole.
    const isKept = was !== undefined && is !== undefined
    changes.push({
      key,
      before: was && shown(was, before.input),
      after: is && shown(is, after.input),
      needsRestart: !mayChange(path) || (isKept && isBoundToSocket(path)),
    })
  }
  return changes
}

function mayChange(path: Path): boolean {
  return CHANGEABLE.some((above) => above.every((step, i) => path[i] === step))
}

function leavesOf(settings: unknown): Map<string, Leaf> {
  const leaves = new Map<string, Leaf>()
  const visit = (value: unknown, path: Path, label: Path): void => {
    if (Array.isArray(value) && value.some(isTable)) {
      value.forEach((element, i) => {
        const name =
          isTable(element) && 'port' in element ? `${element.address}:${element.port}` : `${i}`
        let key = name
        for (let n = 2; leaves.has(keyOf([...label, key, 'port'])); n++) key = `${name} ${n}`
        visit(element, [...path, i], [...label, key])
      })
    } else if (isTable(value)) {
      for (const [name, child] of Object.entries(value)) {
        if (child !== undefined) visit(child, [...path, name], [...label, name])
      }
    } else leaves.set(keyOf(label), { path, key: keyOf(label), value })
  }
  visit(settings, [], [])
  return leaves
}

/** Names of listeners stand in brackets, as indexes do. */
function keyOf(label: Path): string {
  const [first, kind, name, ...rest] = label
  if (first !== 'listen' || name === undefined) return keyPath(label)
  return [`${keyPath([first, String(kind)])}[${String(name)}]`, ...rest.map(String)].join('.')
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** As it was written, where it was: `10m`, not milliseconds. Never a secret. */
function shown({ path, value }: Leaf, input: unknown): string {
  if (isSecret(path)) return '(secret)'
  const written = path.reduce<unknown>(
    (table, step) =>
      typeof table === 'object' && table !== null ? Object(table)[step] : undefined,
    input,
  )
  const isPlain = ['string', 'number', 'boolean'].includes(typeof written) || Array.isArray(written)
  return JSON.stringify(isPlain ? written : value, withoutSecrets) ?? String(value)
}

function withoutSecrets(_: string, value: unknown): unknown {
  return typeof value === 'string' ? withoutPasswords(value) : value
}

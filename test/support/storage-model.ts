import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Kysely } from 'kysely'
import type { Schema, Statement, Storage } from '../../src/core/storage.ts'

declare module '../../src/core/storage.ts' {
  interface Schema {
    line: { id: string; text: string | null }
  }
}

/**
 * Histories of what callers ask of a storage, and a model of it: a map that takes one step after
 * another. Works on the table `line (id text primary key, text text)`.
 */
type Change =
  | { readonly kind: 'insert'; readonly id: string }
  | { readonly kind: 'put'; readonly id: string }
  | { readonly kind: 'delete'; readonly id: string }

type Step =
  | Change
  | { readonly kind: 'all'; readonly changes: readonly Change[] }
  | { readonly kind: 'query'; readonly change: Change }
  | {
      readonly kind: 'transaction'
      readonly changes: readonly Change[]
      readonly isCommitted: boolean
    }
  | { readonly kind: 'read' }
  | { readonly kind: 'turn' }

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('insert', 'put', 'delete'),
  id: fc.constantFrom('a', 'b', 'c', 'd'),
})
const changes = fc.array(change, { minLength: 1, maxLength: 4 })

export const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: change },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('read' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('all' as const), changes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('query' as const), change }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('transaction' as const),
      changes,
      isCommitted: fc.boolean(),
    }),
  },
)

type Lines = ReadonlyMap<string, string>

function statement({ kind, id }: Change, text: string): Statement {
  const insert = 'insert into line (id, text) values (?, ?)'
  if (kind === 'insert') return { sql: insert, parameters: [id, text] }
  if (kind === 'delete') return { sql: 'delete from line where id = ?', parameters: [id] }
  const sql = `${insert} on conflict (id) do update set text = excluded.text`
  return { sql, parameters: [id, text] }
}

function query(db: Kysely<Schema>, { kind, id }: Change, text: string): Promise<unknown> {
  if (kind === 'delete') return db.deleteFrom('line').where('id', '=', id).execute()
  const insert = db.insertInto('line').values({ id, text })
  if (kind === 'insert') return insert.execute()
  return insert.onConflict((conflict) => conflict.column('id').doUpdateSet({ text })).execute()
}

/** What the change makes of the lines; undefined where the database must refuse it. */
function applied(lines: Lines, { kind, id }: Change, text: string): Lines | undefined {
  if (kind === 'insert' && lines.has(id)) return undefined
  const next = new Map(lines)
  if (kind === 'delete') next.delete(id)
  else next.set(id, text)
  return next
}

function allApplied(lines: Lines, changes: readonly Change[], text: string): Lines | undefined {
  let next: Lines | undefined = lines
  for (const one of changes) next = next && applied(next, one, text)
  return next
}

const UNDONE = new Error('undone')

/** Asks for everything without waiting, as the steps say, and holds the answers against the model. */
export async function runHistory(storage: Storage, history: readonly Step[]): Promise<void> {
  let lines: Lines = new Map()
  const checks: Promise<unknown>[] = []

  const expect = (asked: Promise<unknown>, next: Lines | undefined) => {
    checks.push(next ? asked : assert.rejects(asked, { kind: 'constraint' }))
    lines = next ?? lines
  }
  const expectLines = (asked: Promise<readonly { id: string; text: string }[]>) => {
    const expected = [...lines].map(([id, text]) => ({ id, text }))
    const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
    checks.push(asked.then((rows) => assert.deepEqual(rows, expected.sort(byId))))
  }

  for (const [at, step] of history.entries()) {
    const text = `${at}`
    switch (step.kind) {
      case 'insert':
      case 'put':
      case 'delete': {
        const { sql, parameters } = statement(step, text)
        expect(storage.write(sql, parameters), applied(lines, step, text))
        break
      }
      case 'all': {
        const all = step.changes.map((one) => statement(one, text))
        expect(storage.writeAll(all), allApplied(lines, step.changes, text))
        break
      }
      case 'query':
        expect(query(storage.db, step.change, text), applied(lines, step.change, text))
        // It joins the order some microtasks after it was asked for.
        await new Promise((resolve) => setImmediate(resolve))
        break
      case 'transaction':
        lines = await transact(storage, step, lines, text, checks)
        break
      case 'read':
        expectLines(storage.read('select id, text from line order by id', []))
        break
      case 'turn':
        await new Promise((resolve) => setImmediate(resolve))
    }
  }
  expectLines(storage.read('select id, text from line order by id', []))
  await Promise.all(checks)
}

/** Returns once the transaction has begun: what is asked for from then on comes after it. */
async function transact(
  storage: Storage,
  { changes, isCommitted }: Step & { kind: 'transaction' },
  lines: Lines,
  text: string,
  checks: Promise<unknown>[],
): Promise<Lines> {
  const next = allApplied(lines, changes, text)
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  const done = storage.db.transaction().execute(async (trx) => {
    begin()
    for (const one of changes) await query(trx, one, text)
    if (!isCommitted) throw UNDONE
  })
  if (!next) checks.push(assert.rejects(done, { kind: 'constraint' }))
  else checks.push(isCommitted ? done : assert.rejects(done, UNDONE))
  await begun
  return next && isCommitted ? next : lines
}

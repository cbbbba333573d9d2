/** Removes all that is kept of a domain, and can be broken off at any point and begun anew. */

import { removeFromTokens } from '../admin/tokens.ts'
import type { Module } from '../core/module.ts'
import { type OwnedData, removeOwned } from '../core/owned-data.ts'
import type { Server } from '../server.ts'
import { forgetRemovals } from '../storage/account-store.ts'
import { tableNames } from '../storage/tables.ts'

type Parts = {
  readonly server: Pick<Server, 'storage' | 'hooks' | 'accounts' | 'log'>
  /** All that may have kept something, whether they run or not. */
  readonly modules: readonly Module[]
  /** Told of each step: how many rows were removed by it. */
  readonly onRemoved: (rows: number) => void
  readonly signal: AbortSignal
}

/** What the server itself keeps, besides accounts and the name of the domain. */
const OWN: readonly OwnedData[] = [
  { table: 'administrator', owner: 'account' },
  removeFromTokens,
  forgetRemovals,
]

/** Accounts removed in one statement. */
const AT_ONCE = 200
const ACCOUNTS = `delete from account where domain = ? and localpart in (
  select localpart from account where domain = ? order by localpart limit ${AT_ONCE})`

/** Rejects with the signal's reason when that is aborted. */
export async function removeDomain(domain: string, parts: Parts): Promise<void> {
  // What was on its way when the domain was closed has arrived the second time.
  for (let pass = 0; pass < 2; pass++) {
    for await (const rows of removals(domain, parts)) {
      if (rows > 0) parts.onRemoved(rows)
      parts.signal.throwIfAborted()
    }
    parts.server.accounts.forgetDomain(domain)
    await parts.server.hooks.at('remove_domain').run(domain, {})
  }
}

const NOTHING: readonly number[] = []

async function* removals(domain: string, { server, modules }: Parts): AsyncIterable<number> {
  const { storage } = server
  let rows: number
  do {
    rows = (await storage.write(ACCOUNTS, [domain, domain])).changes
    yield rows
  } while (rows === AT_ONCE)
  const tables = new Set(await tableNames(storage))
  const removeFrom = (owned: OwnedData) => {
    if (typeof owned === 'function') return owned(storage, domain)
    // An earlier release of a module that is off may not have made it.
    return tables.has(owned.table) ? removeOwned(storage, owned, domain) : NOTHING
  }
  for (const owned of OWN) yield* removeFrom(owned)
  const applied = await storage.read<{ name: string }>('select name from migration', [])
  const hasRun = new Set(applied.map(({ name }) => name))
  for (const { migrations = [], data = [] } of modules) {
    // A module that never ran here has no tables.
    if (!migrations.some(({ name }) => hasRun.has(name))) continue
    for (const owned of data) yield* removeFrom(owned)
  }
}

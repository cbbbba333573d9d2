/** Removes all that is kept of a domain, and can be broken off at any point and begun anew. */

import type { Module } from '../core/module.ts'
import { type OwnedData, removeOwned } from '../core/owned-data.ts'
import type { Storage } from '../core/storage.ts'
import type { Server } from '../server.ts'

type Parts = {
  readonly server: Pick<Server, 'storage' | 'hooks' | 'accounts' | 'log'>
  /** All that may have kept something, whether they run or not. */
  readonly modules: readonly Module[]
  /** Told of each step: how many rows were removed by it. */
  readonly onRemoved: (rows: number) => void
  readonly signal: AbortSignal
}

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

async function* removals(domain: string, { server, modules }: Parts): AsyncIterable<number> {
  const { storage } = server
  let rows: number
  do {
    rows = (await storage.write(ACCOUNTS, [domain, domain])).changes
    yield rows
  } while (rows === AT_ONCE)
  yield* removeOwned(storage, { table: 'administrator', owner: 'account' }, domain)
  const applied = await storage.read<{ name: string }>('select name from migration', [])
  const owners = new Set(applied.map(({ name }) => name.slice(0, name.indexOf('/'))))
  for (const { name, data = [] } of modules) {
    // A module that never ran here has no tables.
    if (!owners.has(name)) continue
    for (const owned of data) yield* removeFrom(storage, owned, domain)
  }
}

function removeFrom(storage: Storage, owned: OwnedData, domain: string): AsyncIterable<number> {
  return typeof owned === 'function' ? owned(storage, domain) : removeOwned(storage, owned, domain)
}

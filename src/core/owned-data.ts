import type { Storage } from './storage.ts'

/** A table whose rows belong to accounts. */
export type OwnedTable = {
  readonly table: string
  /** The column with the account's bare JID, at the beginning of an index. */
  readonly owner: string
  /** A unique column, where one account may have more rows than are to be removed at once. */
  readonly key?: string
}

/** What a module keeps of accounts: a table, or how to remove what it has of a domain, in steps. */
export type OwnedData = OwnedTable | ((storage: Storage, domain: string) => AsyncIterable<number>)

/** Rows removed in one statement: meanwhile nobody else writes. */
const AT_ONCE = 500

/** Each account that has rows, once, in the order of the database: one step of an index for each. */
export async function* ownersIn(
  storage: Storage,
  { table, owner }: OwnedTable,
): AsyncIterable<string> {
  let last = ''
  for (;;) {
    const sql = `select min(${owner}) as owner from ${table} where ${owner} > ?`
    const [row] = await storage.read<{ owner: string | null }>(sql, [last])
    if (row === undefined || row.owner === null) return
    yield row.owner
    last = row.owner
  }
}

/**
 * Removes what the accounts of a domain have, and yields the number of rows after each step. Broken
 * off at any point, it may be begun anew.
 */
export async function* removeOwned(
  storage: Storage,
  owned: OwnedTable,
  domain: string,
): AsyncIterable<number> {
  const { table, owner, key } = owned
  const sql =
    key === undefined
      ? `delete from ${table} where ${owner} = ?`
      : `delete from ${table} where ${key} in (
           select ${key} from ${table} where ${owner} = ? limit ${AT_ONCE})`
  for await (const account of ownersIn(storage, owned)) {
    if (domainOf(account) !== domain) continue
    let changes: number
    do {
      changes = (await storage.write(sql, [account])).changes
      yield changes
    } while (key !== undefined && changes === AT_ONCE)
  }
}

/** The domain of an account, from its bare JID. */
export function domainOf(account: string): string {
  return account.slice(account.indexOf('@') + 1)
}

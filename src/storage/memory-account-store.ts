import { randomBytes } from 'node:crypto'
import type { Account, AccountStore } from '../core/accounts.ts'
import { type BareJid, jid } from '../xmpp/jid.ts'

/** Accounts that are gone with the process: for tests and for servers embedded in them. */
export function memoryAccountStore(): AccountStore {
  const accounts = new Map<string, Account>()
  const removed = new Map<string, BareJid>()
  const secret = randomBytes(32)

  const change = (at: BareJid, changes: Partial<Account>): boolean => {
    const account = accounts.get(at.full)
    if (account) accounts.set(at.full, { ...account, ...changes })
    return account !== undefined
  }

  const localpartsOf = (domain: string, isDisabled?: boolean) =>
    [...accounts.values()]
      .filter((account) => account.jid.domain === domain)
      .filter((account) => isDisabled === undefined || account.isDisabled === isDisabled)
      .map((account) => account.jid.local)

  return {
    async create(account) {
      if (accounts.has(account.jid.full)) return false
      accounts.set(account.jid.full, account)
      return true
    },
    async find(at) {
      return accounts.get(at.full)
    },
    async exists(at) {
      return accounts.has(at.full)
    },
    async setCredentials(at, credentials) {
      return change(at, { credentials })
    },
    async setDisabled(at, isDisabled) {
      return change(at, { isDisabled })
    },
    async remove(at) {
      if (accounts.has(at.full)) removed.set(at.full, at)
      return accounts.delete(at.full)
    },
    async isBeingRemoved(at) {
      return removed.has(at.full)
    },
    async removals() {
      return [...removed.values()]
    },
    async finishRemoval(at) {
      removed.delete(at.full)
    },
    async list(domain, { after = '', limit, isDisabled }) {
      // Octets of UTF-8 sort as code points do; UTF-16 units do not.
      const byCodePoint = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
      return localpartsOf(domain, isDisabled)
        .filter((local) => byCodePoint(local, after) > 0)
        .sort(byCodePoint)
        .slice(0, limit)
        .map((local) => jid(local, domain))
    },
    async count(domain, { isDisabled } = {}) {
      return localpartsOf(domain, isDisabled).length
    },
    async secret() {
      return secret
    },
  }
}

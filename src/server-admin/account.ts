import type { AdminAccounts } from '../admin/commands/account.ts'
import type { Server } from '../server.ts'

export function adminAccounts({ accounts, lifecycle }: Server): AdminAccounts {
  return {
    register: (account, password) => lifecycle.register(account, password),
    remove: (account) => lifecycle.remove(account),
    setPassword: (account, password) => lifecycle.setPassword(account, password),
    list: (domain, page) => accounts.list(domain, page),
    count: (domain, which) => accounts.count(domain, which),
    find: (account) => accounts.find(account),
    setDisabled: (account, isDisabled) => lifecycle.setDisabled(account, isDisabled),
  }
}

import type { Server } from '../server.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** What is stored of administrators is another. */
    administrators: { readonly question: null; readonly answer: null }
  }
}

/** What is known of administrators stays what is stored: on each node, and when accounts go. */
export function keepAdministrators({ administrators, cluster, hooks }: Server): void {
  cluster.on('administrators', async () => {
    await administrators.load()
    return null
  })
  // Whoever gets its address later is somebody else.
  hooks.on(
    'remove_user',
    async (account) => {
      await administrators.remove(account)
      return account
    },
    { by: 'administrators' },
  )
  hooks.on(
    'remove_domain',
    async (domain) => {
      await administrators.load()
      return domain
    },
    { by: 'administrators' },
  )
}

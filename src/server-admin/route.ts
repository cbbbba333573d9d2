import type { AdminRoute } from '../admin/commands/message.ts'
import { Envelope, type Origin } from '../core/envelope.ts'
import type { Server } from '../server.ts'

const ADMIN: Origin = { kind: 'admin' }

export function adminRoute(server: Server): AdminRoute {
  const { router } = server
  return {
    async explain(question) {
      const { explain } = await import('../server-explain.ts')
      return await explain(server, question)
    },
    send: async (stanza, from, to) => await router.route(new Envelope(from, to, stanza, ADMIN)),
  }
}

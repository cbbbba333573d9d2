import type { AdminRoute } from '../admin/commands/message.ts'
import { Envelope, type Origin } from '../core/envelope.ts'
import type { Server } from '../server.ts'

const ADMIN: Origin = { kind: 'admin' }

export function adminRoute({ router }: Server): AdminRoute {
  return {
    send: async (stanza, from, to) => await router.route(new Envelope(from, to, stanza, ADMIN)),
  }
}

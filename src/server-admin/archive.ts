import type { AdminArchive } from '../admin/commands/archive.ts'
import { resultOf } from '../core/hooks.ts'
import type { Server } from '../server.ts'

export function adminArchive({ hooks, routes }: Server): AdminArchive {
  return {
    async purge(before, owner) {
      const domainType = owner && routes.find(owner.domain)?.domainType
      const point = hooks.at('archive_purge', domainType)
      if (point.isEmpty) return undefined
      return resultOf(await point.run(0, { before, ...(owner && { owner }) }), 0)
    },
  }
}

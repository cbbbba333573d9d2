import { CommandError, type CommandErrorCode } from '../admin/command.ts'
import type { AdminDomains } from '../admin/commands/domain.ts'
import { CertificateError } from '../connection/tls.ts'
import { DomainError, type DomainErrorKind } from '../server/dynamic-domains.ts'
import type { Server } from '../server.ts'

const CODES: Readonly<Record<DomainErrorKind, CommandErrorCode>> = {
  fixed: 'conflict',
  taken: 'conflict',
  removing: 'conflict',
  unknown: 'not-found',
}

export function adminDomains(server: Server): AdminDomains {
  const { dynamicDomains: added } = server
  return {
    list() {
      const { domains } = server.config
      const fixed = domains.map((name) => ({ name, state: 'enabled', isFixed: true }) as const)
      const others = [...added.states].filter(([name]) => !domains.includes(name))
      return [...fixed, ...others.map(([name, state]) => ({ name, state, isFixed: false }))]
    },
    add: (name) => explained(added.add(name)),
    enable: (name) => explained(added.enable(name)),
    disable: (name) => explained(added.disable(name)),
    remove: (name, onRows) => explained(added.remove(name, onRows)),
  }
}

async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (cause instanceof DomainError) throw new CommandError(CODES[cause.kind], cause.message)
    if (cause instanceof CertificateError) throw new CommandError('invalid', cause.message)
    throw cause
  }
}

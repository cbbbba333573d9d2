import { CommandError } from '../command.ts'

/** Throws CommandError unless it is a domain of this server. */
export function ensureServed(domains: readonly string[], domain: string): void {
  if (domains.includes(domain)) return
  const served = domains.join(', ')
  throw new CommandError(
    'not-found',
    `${domain} is not a domain of this server, which has ${served}`,
  )
}

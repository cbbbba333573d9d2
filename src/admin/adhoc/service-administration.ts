/**
 * The commands of XEP-0133 1.3.1: nodes, forms and fields as it names them. Each gives commands that are
 * declared elsewhere, for the domain that was asked.
 */
import type { Giver } from './offer.ts'
import { accessCommand, adminsCommand, endCommand } from './service-access.ts'
import type { Offered } from './service-form.ts'
import { messageCommands } from './service-messages.ts'
import { userCommands } from './service-users.ts'

type Parts = {
  readonly giver: Giver
  /** What is asked about everybody is about this one. */
  readonly domain: string
}

export function serviceCommands({ giver, domain }: Parts): readonly Offered[] {
  return [
    ...userCommands(giver, domain),
    accessCommand(giver, 'blacklist'),
    accessCommand(giver, 'whitelist'),
    ...messageCommands(giver, domain),
    adminsCommand(giver),
    endCommand(giver, 'restart'),
    endCommand(giver, 'shutdown'),
  ]
}

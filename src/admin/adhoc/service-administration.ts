/**
 * The commands of XEP-0133 1.3.1: nodes, forms and fields as it names them. Each gives commands that are
 * declared elsewhere, for the domain that was asked.
 *
 * Who administers is said by the configuration alone, so there is no `edit-admin` (§4.29).
 */
import type { Giver } from './offer.ts'
import { endCommand, listCommand } from './service-access.ts'
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
    listCommand(giver, 'blacklist', 'Blacklist'),
    listCommand(giver, 'whitelist', 'Whitelist'),
    ...messageCommands(giver, domain),
    endCommand(giver, 'restart'),
    endCommand(giver, 'shutdown'),
  ]
}

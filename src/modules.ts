import type { Module } from './core/module.ts'
import { accessLists } from './modules/access-lists/index.ts'
import { adhoc } from './modules/adhoc/index.ts'
import { announcements } from './modules/announcements/index.ts'
import { anonymous } from './modules/anonymous.ts'
import { archive } from './modules/archive/index.ts'
import { blocking } from './modules/blocking/index.ts'
import { caps } from './modules/caps.ts'
import { carbons } from './modules/carbons/index.ts'
import { contactAddresses } from './modules/contact-addresses.ts'
import { csi } from './modules/csi.ts'
import { delegation } from './modules/delegation/index.ts'
import { disco } from './modules/disco.ts'
import { duplicates } from './modules/duplicates.ts'
import { last } from './modules/last.ts'
import { legacySession } from './modules/legacy-session.ts'
import { offline } from './modules/offline/index.ts'
import { ping } from './modules/ping.ts'
import { presence } from './modules/presence/index.ts'
import { privacy } from './modules/privacy/index.ts'
import { privateStorage } from './modules/private/index.ts'
import { privilege } from './modules/privilege/index.ts'
import { register } from './modules/register.ts'
import { roster } from './modules/roster/index.ts'
import { streamManagement } from './modules/stream-management/index.ts'
import { time } from './modules/time.ts'
import { vcard } from './modules/vcard/index.ts'
import { version } from './modules/version.ts'

/** The modules that come with the server, in the order in which they are loaded. */
export const modules: readonly Module[] = [
  disco,
  accessLists,
  adhoc,
  caps,
  roster,
  presence,
  carbons,
  csi,
  delegation,
  announcements,
  anonymous,
  archive,
  blocking,
  contactAddresses,
  duplicates,
  legacySession,
  last,
  offline,
  ping,
  privacy,
  privateStorage,
  privilege,
  register,
  time,
  vcard,
  version,
  // Restores sessions as it starts: whoever has to do with them is there before.
  streamManagement,
]

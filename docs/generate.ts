/** Writes the pages that come from the code: `npm run docs`. Tests compare them with it. */
import { writeFileSync } from 'node:fs'
import { apiReference } from '../src/admin/api-reference.ts'
import { commandsWith } from '../src/admin/commands.ts'
import { streams } from '../src/admin/streams.ts'
import { reference } from '../src/config/reference.ts'
import { modules } from '../src/modules.ts'
import { protocolsPage } from './protocols.ts'

writeFileSync(new URL('configuration.md', import.meta.url), reference(modules))
writeFileSync(
  new URL('http-api.md', import.meta.url),
  apiReference({ commands: commandsWith(modules), streams }),
)
writeFileSync(new URL('protocols.md', import.meta.url), protocolsPage(modules))

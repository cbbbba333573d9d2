/** Writes the pages that come from the code: `npm run docs`. Tests compare them with it. */
import { writeFileSync } from 'node:fs'
import { reference } from '../src/config/reference.ts'
import { modules } from '../src/modules.ts'

writeFileSync(new URL('configuration.md', import.meta.url), reference(modules))

import { readFileSync } from 'node:fs'

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string }

/** What this server calls itself. */
export const SOFTWARE = { name: 'Meerkat', version } as const

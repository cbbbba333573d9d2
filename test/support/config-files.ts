/** A directory with files for configurations to name, and what is wrong with one. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { z } from 'zod'
import { ConfigError, type LoadedConfig, loadConfig } from '../../src/config.ts'
import { makeSelfSigned } from '../../src/connection/self-signed.ts'

export const modules = [
  { name: 'carbons', config: z.strictObject({ order: z.int().default(60) }) },
  { name: 'offline', config: z.strictObject({ max_messages: z.int().min(1).default(100) }) },
]

export const directory = mkdtempSync(join(tmpdir(), 'meerkat-config-'))
after(() => rmSync(directory, { recursive: true }))
export const file = join(directory, 'meerkat.toml')

const pem = makeSelfSigned(Date.now())
writeFileSync(join(directory, 'localhost.pem'), pem)
writeFileSync(join(directory, 'other.pem'), makeSelfSigned(Date.now()))
writeFileSync(join(directory, 'old.pem'), makeSelfSigned(Date.UTC(2001, 0)))
writeFileSync(join(directory, 'text.pem'), 'no certificate')
writeFileSync(join(directory, 'router.ts'), '')
mkdirSync(join(directory, 'node_modules/meerkat-shout'), { recursive: true })
writeFileSync(join(directory, 'node_modules/meerkat-shout/index.js'), '')

/** As if it stood in `file`. Throws ConfigError. */
export function load(toml: string): LoadedConfig {
  return loadConfig(toml, { file, modules })
}

/** The problems of a file, without its directory. */
export function problemsOf(toml: string): string[] {
  try {
    load(toml)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message.split('\n').map((line) => line.replaceAll(`${directory}/`, ''))
  }
}

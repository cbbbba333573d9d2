import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { loadConfig } from '../config.ts'
import { configChanges } from './diff.ts'

const modules = [{ name: 'carbons', config: z.strictObject({ order: z.int().default(60) }) }]

const LEAST = 'domains = ["localhost"]\n'

function changes(before: string, after: string): string[] {
  const load = (text: string) => loadConfig(LEAST + text, { modules })
  return configChanges(load(before), load(after)).map(
    ({ key, before: was = '-', after: is = '-', needsRestart }) =>
      `${key}: ${was} > ${is}${needsRestart ? ' !' : ''}`,
  )
}

test('what is the same does not change, whether it is written or a default', () => {
  assert.deepEqual(changes('', '[limits]\nmax_depth = 100\n[modules.carbons]\norder = 60'), [])
})

test('values are shown as they are written', () => {
  assert.deepEqual(changes('', '[[listen.c2s]]\npre_auth_timeout = "1m"\nshaper = "64KiB"'), [
    'listen.c2s[*:5222].shaper.rate: - > 65536',
    'listen.c2s[*:5222].shaper.burst: - > 65536',
    'listen.c2s[*:5222].pre_auth_timeout: 30000 > "1m"',
    'listen.c2s[*:5222].shaper: "none" > -',
  ])
})

test('listeners are told apart by their addresses, not by their places', () => {
  const [first, second] = ['[[listen.c2s]]\nport = 5222\n', '[[listen.c2s]]\nport = 5333\n']
  assert.deepEqual(changes(first + second, second + first), [])
  const [change, ...others] = changes(first + second, second).filter((line) =>
    line.includes('port'),
  )
  assert.equal(change, 'listen.c2s[*:5222].port: 5222 > -')
  assert.deepEqual(others, [])
})

test('a socket that stays cannot change how many may wait', () => {
  assert.deepEqual(changes('', '[[listen.c2s]]\nbacklog = 10'), [
    'listen.c2s[*:5222].backlog: 1024 > 10 !',
  ])
})

test('modules and what domains have of their own', () => {
  assert.deepEqual(changes('', '[modules.carbons]\nenabled = false'), [
    'modules.carbons.enabled: true > -',
    'modules.carbons.order: 60 > -',
  ])
  assert.deepEqual(changes('', '[host.localhost.modules.carbons]\norder = 5'), [
    'host.localhost.modules.carbons.enabled: - > true',
    'host.localhost.modules.carbons.order: - > 5',
  ])
})

test('secrets are not shown', () => {
  const url = (password: string) => `[storage]\nurl = "postgres://me:${password}@db/meerkat"\n`
  const s2s = (secret: string) => `[s2s]\nsecret = "${secret}"\n`
  const all = changes(
    url('one') + s2s('three of our secrets'),
    url('two') + s2s('four of our secrets'),
  )
  assert.deepEqual(all, [
    's2s.secret: (secret) > (secret)',
    'storage.url: "postgres://me:…@db/meerkat" > "postgres://me:…@db/meerkat" !',
  ])
})

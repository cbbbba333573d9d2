import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

test('each hook that is declared is run somewhere', () => {
  const map = read('src/core/hook-map.ts')
  const body = map.slice(map.indexOf('export interface HookMap {'))
  const names = [...body.matchAll(/^ {2}([a-z][a-z0-9_]+): Hook</gm)].map(([, name]) => name)
  const code = globSync('src/**/*.ts', { cwd: root })
    .filter((path) => !/\.test\.ts$|hook-map\.ts$/.test(path))
    .map((path) => read(path).replace(/hooks\.on\(\s*'\w+'/g, ''))
    .join('\n')

  assert(names.length > 60)
  assert.deepEqual(
    names.filter((name) => !code.includes(`'${name}'`)),
    [],
  )
})

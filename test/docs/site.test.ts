/** The site is built from the pages as they are, and asks nobody else for anything. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { emptyDirectory } from '../support/directory.ts'
import { pages, root } from '../support/pages.ts'

const site = fileURLToPath(new URL('tools/site/', root))
const vitepress = join(site, 'node_modules/vitepress/bin/vitepress.js')
const skip = existsSync(vitepress) ? false : 'needs `npm ci --prefix tools/site`'

test('every page is part of the site, and all that it refers to is there', { skip }, async () => {
  await using directory = await emptyDirectory()
  const { path } = directory
  await promisify(execFile)(process.execPath, [vitepress, 'build', '--outDir', path], { cwd: site })

  const built = new Map(
    globSync('**/*.html', { cwd: path }).map((file) => [
      file,
      readFileSync(join(path, file), 'utf8'),
    ]),
  )
  for (const { path: page } of pages.filter(({ path }) => path.startsWith('docs/'))) {
    const file = page.replace('docs/', '').replace('README.md', 'index.md').replace('.md', '.html')
    assert.ok(built.has(file), `${page} is not part of the site`)
  }
  for (const [file, html] of built) {
    const tags = html.match(/<(script|link|img|iframe|source)\b[^>]*>/g) ?? []
    const foreign = tags.filter((tag) => /(src|href)="(https?:)?\/\//.test(tag))
    assert.deepEqual(foreign, [], file)
    for (const [, target = ''] of html.matchAll(/ (?:href|src)="([^":]+)"/g)) {
      const [name = ''] = target.split('#')
      const at = name.startsWith('/') ? join(path, name) : join(path, file, '..', name)
      assert.ok(name === '' || existsSync(at), `${file}: ${target} is not there`)
    }
  }
  const [index = ''] = globSync('assets/**/*localSearchIndex*.js', { cwd: path })
  assert.match(readFileSync(join(path, index), 'utf8'), /traceparent/)
  const styles = globSync('**/*.css', { cwd: path }).map((each) =>
    readFileSync(join(path, each), 'utf8'),
  )
  assert.doesNotMatch(styles.join('\n'), /url\(["']?https?:|@import/)
})

import { globSync, readFileSync } from 'node:fs'

/** Pages in the order in which one reads them. Those that are not there are left out. */
const groups: Readonly<Record<string, readonly string[]>> = {
  Start: ['README', 'quick-start'],
  'Run a server': [
    'operators-guide',
    'configuration',
    'reload',
    'administration',
    'admin-page',
    'http-api',
    'metrics',
    'tracing',
    'data',
    'postgresql',
    'upgrading',
  ],
  'Connect it': ['federation', 'components', 'cluster', 'scaling'],
  'Keep it safe': ['security', 'hardening'],
  'Change it': ['module-tutorial', 'route', 'protocols', 'decisions/README'],
}

/** What is in no group is at the end, so that no page is without a way to it. */
export function sidebarOf(directory: URL) {
  const pages = globSync('*.md', { cwd: directory }).map((file) => file.slice(0, -'.md'.length))
  const known = Object.values(groups).flat()
  const others = pages.filter((page) => !known.includes(page)).sort()
  const isThere = (page: string) => page.includes('/') || pages.includes(page)
  return Object.entries({ ...groups, More: others })
    .map(([text, names]) => ({
      text,
      items: names
        .filter(isThere)
        .map((page) => ({ text: titleOf(page, directory), link: linkTo(page) })),
    }))
    .filter(({ items }) => items.length > 0)
}

function titleOf(page: string, directory: URL): string {
  if (page === 'README') return 'Overview'
  const text = readFileSync(new URL(`${page}.md`, directory), 'utf8')
  return /^# (.+)$/m.exec(text)?.[1]?.replaceAll('`', '') ?? page
}

function linkTo(page: string): string {
  return `/${page.replace(/README$/, '')}`
}

/** Whom to count an address as. Who has one address of an IPv6 network of 64 bits has them all. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1] as string
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const behind = tail === '' ? 0 : tail.split(':').length
    while (groups.length < 8 - behind && groups.length < 4) groups.push('0')
  }
  return groups.slice(0, 4).join(':').toLowerCase()
}

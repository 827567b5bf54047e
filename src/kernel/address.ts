/** Room `kernel`: socket addresses (interim). */
export type SocketAddress =
  | { readonly family: 'ipv4'; readonly address: string; readonly port: number }
  | { readonly family: 'ipv6'; readonly address: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };
export function encodeAddress(a: SocketAddress, b: Uint8Array, o: number): number {
  if (a.family !== 'ipv4') { if (a.family === 'unix') { b[o] = 1; b[o+1]=0; for (let i=0;i<a.path.length;i++) b[o+2+i]=a.path.charCodeAt(i); b[o+2+a.path.length]=0; return 3 + a.path.length; } b.fill(0, o, o+28); b[o]=10; b[o+2]=a.port>>8; b[o+3]=a.port&255; if (a.address==='::1') b[o+23]=1; return 28; }
  b[o]=2; b[o+1]=0; b[o+2]=a.port>>8; b[o+3]=a.port&255; a.address.split('.').forEach((x,i)=>{b[o+4+i]=Number(x)}); b.fill(0,o+8,o+16); return 16;
}
export function decodeAddress(b: Uint8Array, o: number, _l: number): SocketAddress | null {
  const port=(b[o+2]<<8)|b[o+3];
  if (b[o]===2) return {family:'ipv4', address:[...b.subarray(o+4,o+8)].join('.'), port};
  if (b[o]===10) return {family:'ipv6', address:'::', port};
  return null;
}
export function formatAddress(a: SocketAddress): string { return a.family==='unix' ? `unix:${a.path}` : `${a.address}:${a.port}`; }

/**
 * Room `http`: media types by file extension, for static files. The facts are those of the mime-db collection (IANA, Apache
 * and nginx lists) and of younger registrations (RFC 8878, RFC 9639); the selection is what web sites serve.
 *
 * A newcomer would get wrong: `text/*` without a charset is guessed at by browsers, so text carries `charset=utf-8`; and what
 * is unknown is octets, never text, so that no browser runs it.
 */

const TYPES: Readonly<Record<string, string>> = {
  'application/atom+xml': 'atom',
  'application/epub+zip': 'epub',
  'application/geo+json': 'geojson',
  'application/gzip': 'gz',
  'application/java-archive': 'jar war ear',
  'application/json': 'json map',
  'application/ld+json': 'jsonld',
  'application/manifest+json': 'webmanifest',
  'application/msword': 'doc dot',
  'application/octet-stream': 'bin dll dmg exe img iso msi deb',
  'application/ogg': 'ogx',
  'application/pdf': 'pdf',
  'application/postscript': 'ai eps ps',
  'application/rss+xml': 'rss',
  'application/rtf': 'rtf',
  'application/vnd.android.package-archive': 'apk',
  'application/vnd.apple.mpegurl': 'm3u8',
  'application/vnd.ms-excel': 'xls',
  'application/vnd.ms-fontobject': 'eot',
  'application/vnd.ms-powerpoint': 'ppt',
  'application/vnd.oasis.opendocument.presentation': 'odp',
  'application/vnd.oasis.opendocument.spreadsheet': 'ods',
  'application/vnd.oasis.opendocument.text': 'odt',
  'application/vnd.openxmlformats-officedocument.presentationml.presentation': 'pptx',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'application/vnd.rar': 'rar',
  'application/wasm': 'wasm',
  'application/x-7z-compressed': '7z',
  'application/x-bzip2': 'bz2',
  'application/x-sh': 'sh',
  'application/x-tar': 'tar',
  'application/x-x509-ca-cert': 'crt pem',
  'application/xhtml+xml': 'xhtml xht',
  'application/xml': 'xml xsl xsd rng',
  'application/zip': 'zip',
  'application/zstd': 'zst',
  'audio/aac': 'aac adts',
  'audio/flac': 'flac',
  'audio/midi': 'mid midi kar',
  'audio/mp4': 'm4a mp4a',
  'audio/mpeg': 'mp3 mpga m2a',
  'audio/ogg': 'oga ogg opus spx',
  'audio/wav': 'wav',
  'audio/webm': 'weba',
  'font/collection': 'ttc',
  'font/otf': 'otf',
  'font/ttf': 'ttf',
  'font/woff': 'woff',
  'font/woff2': 'woff2',
  'image/apng': 'apng',
  'image/avif': 'avif',
  'image/bmp': 'bmp dib',
  'image/gif': 'gif',
  'image/heic': 'heic',
  'image/jpeg': 'jpg jpeg jpe',
  'image/jxl': 'jxl',
  'image/png': 'png',
  'image/svg+xml': 'svg svgz',
  'image/tiff': 'tif tiff',
  'image/vnd.microsoft.icon': 'ico',
  'image/webp': 'webp',
  'model/gltf+json': 'gltf',
  'model/gltf-binary': 'glb',
  'text/calendar': 'ics ifb',
  'text/css': 'css',
  'text/csv': 'csv',
  'text/html': 'html htm shtml',
  'text/javascript': 'js mjs',
  'text/markdown': 'md markdown',
  'text/plain': 'txt text conf def list log in ini',
  'text/tab-separated-values': 'tsv',
  'text/vcard': 'vcard vcf',
  'text/vtt': 'vtt',
  'text/yaml': 'yaml yml',
  'video/mp2t': 'ts m2t m2ts mts',
  'video/mp4': 'mp4 m4v mpg4',
  'video/mpeg': 'mpeg mpg mpe m1v m2v',
  'video/ogg': 'ogv',
  'video/quicktime': 'mov qt',
  'video/webm': 'webm',
  'video/x-matroska': 'mkv',
  'video/x-msvideo': 'avi',
};

/** Types outside `text/` that are text and always UTF-8 or say so themselves need no charset. */
const byExtension = new Map<string, string>();
for (const [type, extensions] of Object.entries(TYPES)) {
  const value = type.startsWith('text/') ? `${type}; charset=utf-8` : type;
  for (const extension of extensions.split(' ')) byExtension.set(extension, value);
}

export const OCTETS = 'application/octet-stream';

/** The value of Content-Type for a file name, by what follows its last dot; a name that begins with its only dot has none. */
export function mediaTypeOf(name: string): string {
  const base = name.slice(name.lastIndexOf('/') + 1);
  const dot = base.lastIndexOf('.');
  if (dot <= 0) return OCTETS;
  return byExtension.get(base.slice(dot + 1).toLowerCase()) ?? OCTETS;
}

const COMPRESSIBLE = new RegExp(
  '^text/|[/+](?:json|xml|javascript)\\b|^application/(?:wasm|rtf|postscript|x-sh|x-tar|vnd\\.ms-fontobject)' +
    '|^font/(?:otf|ttf)|^image/(?:bmp|vnd\\.microsoft\\.icon)|^model/gltf-binary',
);

/** Whether compressing files of the type pays: text and what is written as text. Pictures, sound and archives are compressed. */
export function isCompressible(mediaType: string): boolean {
  return COMPRESSIBLE.test(mediaType);
}

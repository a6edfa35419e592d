// A small server for driver/integration/azure, with all that its claims need: Entra
// authentication with an administrator, and a user-assigned managed identity. deploy/up
// deploys it.

@description('Region of all resources.')
param location string = resourceGroup().location

@description('Name of the server, unique in Azure.')
param serverName string = 'aadpostgres-${uniqueString(resourceGroup().id)}'

@description('Major version of PostgreSQL.')
param version string = '17'

@description('Size. Burstable sizes have no PgBouncer.')
param sku string = 'Standard_B1ms'

@description('Object ID of the Entra administrator.')
param adminObjectId string

@description('Name of the Entra administrator: a UPN, or a display name.')
param adminName string

@allowed(['User', 'ServicePrincipal'])
param adminType string

@description('IPv4 address that may connect.')
param clientAddress string

@description('Subject of GitHub tokens that the managed identity trusts, or empty for none.')
param federatedSubject string = ''

@description('Password of the native administrator. Nobody knows the default, and nothing uses it.')
@secure()
param nativePassword string = newGuid()

var burstable = startsWith(sku, 'Standard_B')

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${serverName}-app'
  location: location

  resource github 'federatedIdentityCredentials' = if (!empty(federatedSubject)) {
    name: 'github'
    properties: {
      issuer: 'https://token.actions.githubusercontent.com'
      subject: federatedSubject
      audiences: ['api://AzureADTokenExchange']
    }
  }
}

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: serverName
  location: location
  sku: {
    name: sku
    tier: burstable ? 'Burstable' : 'GeneralPurpose'
  }
  properties: {
    version: version
    administratorLogin: 'native_admin'
    administratorLoginPassword: 'Aa1!${nativePassword}'
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Enabled' // so that roles without Entra are asked for SCRAM
      tenantId: subscription().tenantId
    }
    storage: {
      storageSizeGB: 32
    }
    backup: {
      backupRetentionDays: 7
      geoRedundantBackup: 'Disabled'
    }
    highAvailability: {
      mode: 'Disabled'
    }
    network: {
      publicNetworkAccess: 'Enabled'
    }
  }
}

resource client 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = {
  parent: server
  name: 'client'
  properties: {
    startIpAddress: clientAddress
    endIpAddress: clientAddress
  }
}

// A server takes one change at a time.
resource admin 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2024-08-01' = {
  parent: server
  name: adminObjectId
  properties: {
    principalName: adminName
    principalType: adminType
    tenantId: subscription().tenantId
  }
  dependsOn: [client]
}

resource pgbouncer 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2024-08-01' = if (!burstable) {
  parent: server
  name: 'pgbouncer.enabled'
  properties: {
    value: 'true'
    source: 'user-override'
  }
  dependsOn: [admin]
}

output serverName string = server.name
output host string = server.properties.fullyQualifiedDomainName
output identityName string = identity.name
output identityClientId string = identity.properties.clientId
output identityObjectId string = identity.properties.principalId
output pgbouncerPort string = burstable ? '' : '6432'

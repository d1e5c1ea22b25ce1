"""A self-hosted, warehouse-native customer-messaging pipeline. Importing it does nothing."""
